// Finds the rules of all programs that set bits of a packet's firewall mark: those of nftables, and those
// of iptables that are in nftables (iptables-nft). Rules of iptables-legacy are not in nftables and are not
// found.
import { readU32 } from "../../wire/codec.ts";
import { NFPROTO_IPV4, NFPROTO_IPV6, NFT_MSG_GETRULE, ruleMessage } from "../../wire/nftables.ts";
import { type Expression, NFT_META_MARK } from "../../wire/nftables-expressions.ts";
import { NFPROTO_INET } from "../../wire/nftables-table.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "../socket.ts";

export interface MarkRule {
  /** The table as nft names it: "ip mangle". */
  readonly table: string;
  readonly chain: string;
  /** The bits that the rule may set, never 0. */
  readonly bits: number;
}

const families = { inet: NFPROTO_INET, ip: NFPROTO_IPV4, ip6: NFPROTO_IPV6 } as const;

/** Reads the rules of this thread's network namespace. Throws NetlinkError, SysError, DecodeError. */
export function readMarkRules(): MarkRule[] {
  using socket = NetlinkSocket.open(NETLINK_NETFILTER);
  return Object.entries(families).flatMap(([name, family]) => {
    const found: MarkRule[] = [];
    socket.dump(
      {
        ...{ type: NFT_MSG_GETRULE, flags: 0, describe: () => `list the rules of family ${name}` },
        write: (to) => ruleMessage.write(to, { nfgen_family: family }),
      },
      () => {
        found.length = 0;
      },
      (bytes, at, end) => {
        const rule = ruleMessage.read(bytes, at, end, "skip");
        const bits = markBits(rule.NFTA_RULE_EXPRESSIONS ?? []);
        const { NFTA_RULE_TABLE: table = "", NFTA_RULE_CHAIN: chain = "" } = rule;
        if (bits !== 0) found.push({ table: `${name} ${table}`, chain, bits });
      },
    );
    return found;
  });
}

/** The bits of the mark that the expressions may set; those that they copy from a connection are not known. */
export function markBits(expressions: readonly Expression[]): number {
  let set = 0;
  // The bits that the register may have beside those of the mark.
  let register = 0;
  for (const { name, data } of expressions.filter(isKnown)) {
    if (name === "immediate") register = u32Of(data.NFTA_IMMEDIATE_DATA?.NFTA_DATA_VALUE);
    else if (name === "bitwise") {
      const mask = u32Of(data.NFTA_BITWISE_MASK?.NFTA_DATA_VALUE);
      register = (register & mask) | u32Of(data.NFTA_BITWISE_XOR?.NFTA_DATA_VALUE);
    } else if (name === "meta" && data.NFTA_META_SREG === undefined) register = 0;
    else if (name === "meta" && data.NFTA_META_KEY === NFT_META_MARK) set |= register;
    // struct xt_mark_tginfo2 (linux/netfilter/xt_mark.h): the mark, and its mask.
    else if (name === "target" && data.NFTA_TARGET_NAME === "MARK") set |= u32Of(data.NFTA_TARGET_INFO);
  }
  return set >>> 0;
}

type Known = Exclude<Expression, { name: "unknown" }>;

function isKnown(expression: Expression): expression is Known {
  return expression.name !== "unknown";
}

/** 0 for what has fewer bytes. */
function u32Of(bytes: Uint8Array | undefined): number {
  return bytes === undefined || bytes.length < 4 ? 0 : readU32(bytes, 0);
}
