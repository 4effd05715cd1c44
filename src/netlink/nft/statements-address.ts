// Statements about a packet's family and its addresses.
import { type Family, familyOf, formatIp, ipBytes } from "../../net/ip.ts";
import type { NftStatement } from "../../net/nftables.ts";
import { AF_INET, AF_INET6 } from "../../wire/codec.ts";
import {
  type Expression,
  NFT_CMP_EQ,
  NFT_LOOKUP_F_INV,
  NFT_META_NFPROTO,
  NFT_PAYLOAD_NETWORK_HEADER,
} from "../../wire/nftables-expressions.ts";
import { compare, loadMeta, loadPayload, lookup, update } from "./expressions.ts";
import { type Codecs, comparedWith, dataOf, metaKey } from "./statement-codec.ts";

/** The offsets and lengths of the addresses in the headers of IPv4 and IPv6. */
const addressAt = {
  4: { family: AF_INET, saddr: 12, daddr: 16, bytes: 4 },
  6: { family: AF_INET6, saddr: 8, daddr: 24, bytes: 16 },
} as const;
/** The offset of the sender's IPv4 address in Ethernet's ARP (RFC 826). */
const arpSenderIpOffset = 14;
const arpIpBytes = 4;

type Field = "saddr" | "daddr";

export const addressStatements: Codecs<"inSet" | "countAddress" | "senderInSet" | "address"> = {
  inSet: {
    encode: ({ family, field, set, not }, known) => [...loadAddress(family, field, known), lookup(set, not)],
    match: (expressions, known) => {
      const found = matchAddress(expressions, known);
      const sought = dataOf(found?.next, "lookup");
      if (found === undefined || sought === undefined) return undefined;
      const { family, field } = found;
      const not = sought.NFTA_LOOKUP_FLAGS === NFT_LOOKUP_F_INV ? { not: true as const } : {};
      return { kind: "inSet", family, field, set: sought.NFTA_LOOKUP_SET ?? "", ...not };
    },
  },
  countAddress: {
    encode: ({ family, field, set }, known) => [...loadAddress(family, field, known), update(set)],
    match: (expressions, known) => {
      const found = matchAddress(expressions, known);
      const set = dataOf(found?.next, "dynset")?.NFTA_DYNSET_SET_NAME;
      if (found === undefined || set === undefined) return undefined;
      return { kind: "countAddress", family: found.family, field: found.field, set };
    },
  },
  senderInSet: {
    encode: ({ set }) => [
      loadPayload(NFT_PAYLOAD_NETWORK_HEADER, arpSenderIpOffset, arpIpBytes),
      lookup(set),
    ],
    match: ([payload, sought]) => {
      const set = dataOf(sought, "lookup")?.NFTA_LOOKUP_SET;
      return payload?.name === "payload" && set !== undefined ? { kind: "senderInSet", set } : undefined;
    },
  },
  address: {
    encode: ({ field, ip }, known) => [
      ...loadAddress(familyOf(ip), field, known),
      compare(NFT_CMP_EQ, ipBytes(ip)),
    ],
    match: (expressions, known) => {
      const found = matchAddress(expressions, known);
      const ip = comparedWith(found?.next);
      if (found === undefined || ip?.length !== addressAt[found.family].bytes) return undefined;
      return { kind: "address", field: found.field, ip: formatIp(ip) };
    },
  },
};

/** The family that packets are of which the statement has let pass. */
export function familyAfter(statement: NftStatement, known: Family | undefined): Family | undefined {
  if ("family" in statement) return statement.family;
  if (statement.kind === "ipOptions") return 4;
  if (statement.kind === "routingHeader") return 6;
  return statement.kind === "address" ? familyOf(statement.ip) : known;
}

/** A rule asks only once of which family a packet is. */
export function isFamily(family: Family, known: Family | undefined): Expression[] {
  if (family === known) return [];
  return [loadMeta(NFT_META_NFPROTO), compare(NFT_CMP_EQ, Uint8Array.of(addressAt[family].family))];
}

/** The family that the expressions ask for first, or `known`; `rest` are the expressions after that. */
export function matchFamily(
  expressions: readonly Expression[],
  known: Family | undefined,
): { readonly family: Family | undefined; readonly rest: readonly Expression[] } {
  const [meta, compared] = expressions;
  if (metaKey(meta) !== NFT_META_NFPROTO) return { family: known, rest: expressions };
  return { family: comparedWith(compared)?.[0] === AF_INET ? 4 : 6, rest: expressions.slice(2) };
}

function loadAddress(family: Family, field: Field, known: Family | undefined): Expression[] {
  const { bytes, [field]: offset } = addressAt[family];
  return [...isFamily(family, known), loadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset, bytes)];
}

function matchAddress(
  expressions: readonly Expression[],
  known: Family | undefined,
): { readonly family: Family; readonly field: Field; readonly next: Expression | undefined } | undefined {
  const { family, rest } = matchFamily(expressions, known);
  const payload = dataOf(rest[0], "payload");
  if (family === undefined || payload === undefined) return undefined;
  const field = payload.NFTA_PAYLOAD_OFFSET === addressAt[family].saddr ? "saddr" : "daddr";
  return { family, field, next: rest[1] };
}
