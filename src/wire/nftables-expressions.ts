// Expressions, of which rules are made: NFTA_EXPR_* and the attributes of those
// that we use (linux/netfilter/nf_tables.h). Registers pass values from one to
// the next; constants in `raw` are in the order of what they are compared with.
import { list, NLA_F_NESTED, nested, type Table } from "./attributes.ts";
import { type Codec, raw, text, u8 } from "./codec.ts";
import { s32Be, u32Be, u64Be } from "./nftables-numbers.ts";

export const NFT_REG_VERDICT = 0;
export const NFT_REG_1 = 1;

export const NFT_META_MARK = 3;
export const NFT_META_IIF = 4;
export const NFT_META_OIF = 5;
export const NFT_META_IIFNAME = 6;
export const NFT_META_OIFNAME = 7;
export const NFT_META_NFPROTO = 15;
export const NFT_META_L4PROTO = 16;
export const NFT_META_IIFGROUP = 21;

export const NFT_CMP_EQ = 0;
export const NFT_CMP_NEQ = 1;

export const NFT_PAYLOAD_NETWORK_HEADER = 1;
export const NFT_PAYLOAD_TRANSPORT_HEADER = 2;

export const NF_DROP = 0;
export const NF_ACCEPT = 1;
export const NFT_GOTO = -4;

export const NFTA_FIB_F_SADDR = 1;
export const NFTA_FIB_F_DADDR = 2;
export const NFTA_FIB_F_MARK = 4;
/** Only routes by the interface that the packet came by count. */
export const NFTA_FIB_F_IIF = 8;
/** The result is whether there is one. */
export const NFTA_FIB_F_PRESENT = 32;
export const NFT_FIB_RESULT_OIF = 1;
export const NFT_FIB_RESULT_OIFNAME = 2;
export const NFT_FIB_RESULT_ADDRTYPE = 3;

export const NFT_LOOKUP_F_INV = 1;
export const NFT_DYNSET_OP_UPDATE = 1;

export const NFT_CT_DIRECTION = 1;
export const NFT_CT_STATUS = 2;
export const NFT_CT_MARK = 3;
export const NFT_CT_SRC_IP = 19;
export const NFT_CT_SRC_IP6 = 21;

export const NFT_REJECT_ICMPX_UNREACH = 2;
export const NFT_REJECT_ICMPX_HOST_UNREACH = 2;

export const NFT_RT_TCPMSS = 3;
export const NFT_BYTEORDER_HTON = 1;
export const NFT_EXTHDR_OP_TCPOPT = 1;
/** The result is whether there is one. */
export const NFT_EXTHDR_F_PRESENT = 1;

const nest = <const T extends Table>(table: T) => nested(table, NLA_F_NESTED);

const verdict = nest({ NFTA_VERDICT_CODE: [1, s32Be], NFTA_VERDICT_CHAIN: [2, text] });
const data = nest({ NFTA_DATA_VALUE: [1, raw], NFTA_DATA_VERDICT: [2, verdict] });

/** Name of an expression -> codec of its NFTA_EXPR_DATA. */
const expressions = {
  bitwise: nest({
    NFTA_BITWISE_SREG: [1, u32Be],
    NFTA_BITWISE_DREG: [2, u32Be],
    NFTA_BITWISE_LEN: [3, u32Be],
    NFTA_BITWISE_MASK: [4, data],
    NFTA_BITWISE_XOR: [5, data],
    NFTA_BITWISE_OP: [6, u32Be],
    NFTA_BITWISE_DATA: [7, data],
  }),
  byteorder: nest({
    NFTA_BYTEORDER_SREG: [1, u32Be],
    NFTA_BYTEORDER_DREG: [2, u32Be],
    NFTA_BYTEORDER_OP: [3, u32Be],
    NFTA_BYTEORDER_LEN: [4, u32Be],
    NFTA_BYTEORDER_SIZE: [5, u32Be],
  }),
  cmp: nest({ NFTA_CMP_SREG: [1, u32Be], NFTA_CMP_OP: [2, u32Be], NFTA_CMP_DATA: [3, data] }),
  counter: nest({ NFTA_COUNTER_BYTES: [1, u64Be], NFTA_COUNTER_PACKETS: [2, u64Be] }),
  ct: nest({
    NFTA_CT_DREG: [1, u32Be],
    NFTA_CT_KEY: [2, u32Be],
    NFTA_CT_DIRECTION: [3, u8],
    NFTA_CT_SREG: [4, u32Be],
  }),
  dynset: nest({
    NFTA_DYNSET_SET_NAME: [1, text],
    NFTA_DYNSET_SET_ID: [2, u32Be],
    NFTA_DYNSET_OP: [3, u32Be],
    NFTA_DYNSET_SREG_KEY: [4, u32Be],
    NFTA_DYNSET_SREG_DATA: [5, u32Be],
    NFTA_DYNSET_TIMEOUT: [6, u64Be],
    NFTA_DYNSET_EXPR: [7, raw],
    NFTA_DYNSET_FLAGS: [9, u32Be],
    NFTA_DYNSET_EXPRESSIONS: [10, raw],
  }),
  exthdr: nest({
    NFTA_EXTHDR_DREG: [1, u32Be],
    NFTA_EXTHDR_TYPE: [2, u8],
    NFTA_EXTHDR_OFFSET: [3, u32Be],
    NFTA_EXTHDR_LEN: [4, u32Be],
    NFTA_EXTHDR_FLAGS: [5, u32Be],
    NFTA_EXTHDR_OP: [6, u32Be],
    NFTA_EXTHDR_SREG: [7, u32Be],
  }),
  fib: nest({ NFTA_FIB_DREG: [1, u32Be], NFTA_FIB_RESULT: [2, u32Be], NFTA_FIB_FLAGS: [3, u32Be] }),
  immediate: nest({ NFTA_IMMEDIATE_DREG: [1, u32Be], NFTA_IMMEDIATE_DATA: [2, data] }),
  lookup: nest({
    NFTA_LOOKUP_SET: [1, text],
    NFTA_LOOKUP_SREG: [2, u32Be],
    NFTA_LOOKUP_DREG: [3, u32Be],
    NFTA_LOOKUP_SET_ID: [4, u32Be],
    NFTA_LOOKUP_FLAGS: [5, u32Be],
  }),
  meta: nest({ NFTA_META_DREG: [1, u32Be], NFTA_META_KEY: [2, u32Be], NFTA_META_SREG: [3, u32Be] }),
  payload: nest({
    NFTA_PAYLOAD_DREG: [1, u32Be],
    NFTA_PAYLOAD_BASE: [2, u32Be],
    NFTA_PAYLOAD_OFFSET: [3, u32Be],
    NFTA_PAYLOAD_LEN: [4, u32Be],
    NFTA_PAYLOAD_SREG: [5, u32Be],
    NFTA_PAYLOAD_CSUM_TYPE: [6, u32Be],
    NFTA_PAYLOAD_CSUM_OFFSET: [7, u32Be],
    NFTA_PAYLOAD_CSUM_FLAGS: [8, u32Be],
  }),
  reject: nest({ NFTA_REJECT_TYPE: [1, u32Be], NFTA_REJECT_ICMP_CODE: [2, u8] }),
  // iptables-nft has this for a target of iptables.
  target: nest({ NFTA_TARGET_NAME: [1, text], NFTA_TARGET_REV: [2, u32Be], NFTA_TARGET_INFO: [3, raw] }),
  rt: nest({ NFTA_RT_DREG: [1, u32Be], NFTA_RT_KEY: [2, u32Be] }),
} as const;

type Known = { [Name in keyof typeof expressions]: Value<(typeof expressions)[Name]> };
type Value<C> = C extends Codec<infer V> ? V : never;

/** One expression: its name with its attributes, or the raw bytes if we do not know it. */
export type Expression =
  | { [Name in keyof Known]: { readonly name: Name; readonly data: Known[Name] } }[keyof Known]
  | { readonly name: "unknown"; readonly kernelName: string; readonly bytes: Uint8Array };

const frameTable = { NFTA_EXPR_NAME: [1, text], NFTA_EXPR_DATA: [2, raw] } as const;
const frame = nested(frameTable);

/** Codec of one expression; the layout of its data depends on its name. */
export const expression: Codec<Expression> = {
  flags: NLA_F_NESTED,
  write(to, value) {
    if (value.name === "unknown") {
      frame.write(to, { NFTA_EXPR_NAME: value.kernelName, NFTA_EXPR_DATA: value.bytes });
      return;
    }
    frame.write(to, { NFTA_EXPR_NAME: value.name });
    const start = to.beginAttribute(frameTable.NFTA_EXPR_DATA[0] | NLA_F_NESTED);
    (expressions[value.name] as Codec<Known[keyof Known]>).write(to, value.data);
    to.endAttribute(start);
  },
  read(bytes, at, end) {
    const { NFTA_EXPR_NAME: name = "", NFTA_EXPR_DATA: payload = none } = frame.read(bytes, at, end);
    if (!Object.hasOwn(expressions, name)) return { name: "unknown", kernelName: name, bytes: payload };
    const codec = expressions[name as keyof Known] as Codec<Known[keyof Known]>;
    return { name, data: codec.read(payload, 0, payload.length) } as Expression;
  },
};

const none = new Uint8Array(0);
const listed = list(expression, NLA_F_NESTED);
const NFTA_LIST_ELEM = 1;

/** Codec of a rule's expressions: like `list`, but each has to be marked as an item. */
export const expressionList: Codec<readonly Expression[]> = {
  ...listed,
  write(to, items) {
    for (const item of items) {
      const start = to.beginAttribute(NFTA_LIST_ELEM | NLA_F_NESTED);
      expression.write(to, item);
      to.endAttribute(start);
    }
  },
};
