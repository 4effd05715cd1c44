// Makes expressions as nft(8) does for the statements that we use: each reads from, or writes to, the
// first register. statements.ts gives them their meaning.
import {
  type Expression,
  NFT_BYTEORDER_HTON,
  NFT_CT_MARK,
  NFT_DYNSET_OP_UPDATE,
  NFT_EXTHDR_F_PRESENT,
  NFT_EXTHDR_OP_TCPOPT,
  NFT_LOOKUP_F_INV,
  NFT_META_MARK,
  NFT_REG_1,
  NFT_REG_VERDICT,
  NFT_REJECT_ICMPX_HOST_UNREACH,
  NFT_REJECT_ICMPX_UNREACH,
  NFT_RT_TCPMSS,
} from "../../wire/nftables-expressions.ts";

const tcpOptionMaxseg = 2;
const maxsegOffset = 2;
const maxsegBytes = 2;

export function loadMeta(key: number): Expression {
  return { name: "meta", data: { NFTA_META_KEY: key, NFTA_META_DREG: NFT_REG_1 } };
}

export function compare(operator: number, value: Uint8Array): Expression {
  return {
    name: "cmp",
    data: {
      NFTA_CMP_SREG: NFT_REG_1,
      NFTA_CMP_OP: operator,
      NFTA_CMP_DATA: { NFTA_DATA_VALUE: value },
    },
  };
}

export function loadPayload(base: number, offset: number, length: number): Expression {
  return {
    name: "payload",
    data: {
      NFTA_PAYLOAD_DREG: NFT_REG_1,
      NFTA_PAYLOAD_BASE: base,
      NFTA_PAYLOAD_OFFSET: offset,
      NFTA_PAYLOAD_LEN: length,
    },
  };
}

/** `not`: in none of the elements. */
export function lookup(set: string, not = false): Expression {
  const flags = not ? { NFTA_LOOKUP_FLAGS: NFT_LOOKUP_F_INV } : {};
  return { name: "lookup", data: { NFTA_LOOKUP_SREG: NFT_REG_1, NFTA_LOOKUP_SET: set, ...flags } };
}

/** Adds the register's content to the set, if it is no element yet. */
export function update(set: string): Expression {
  return {
    name: "dynset",
    data: {
      NFTA_DYNSET_SET_NAME: set,
      NFTA_DYNSET_OP: NFT_DYNSET_OP_UPDATE,
      NFTA_DYNSET_SREG_KEY: NFT_REG_1,
    },
  };
}

/** register = (register & mask) ^ xor */
export function bitwise(mask: Uint8Array, xor: Uint8Array): Expression {
  return {
    name: "bitwise",
    data: {
      NFTA_BITWISE_SREG: NFT_REG_1,
      NFTA_BITWISE_DREG: NFT_REG_1,
      NFTA_BITWISE_OP: 0,
      NFTA_BITWISE_LEN: mask.length,
      NFTA_BITWISE_MASK: { NFTA_DATA_VALUE: mask },
      NFTA_BITWISE_XOR: { NFTA_DATA_VALUE: xor },
    },
  };
}

export function decide(verdict: { NFTA_VERDICT_CODE: number; NFTA_VERDICT_CHAIN?: string }): Expression {
  return {
    name: "immediate",
    data: { NFTA_IMMEDIATE_DREG: NFT_REG_VERDICT, NFTA_IMMEDIATE_DATA: { NFTA_DATA_VERDICT: verdict } },
  };
}

/** The mark becomes what is in the register. */
export const storeMark: Expression = {
  name: "meta",
  data: { NFTA_META_KEY: NFT_META_MARK, NFTA_META_SREG: NFT_REG_1 },
};

/** An attribute of the packet's connection, NFT_CT_*; of some there is one for each direction. */
export function loadConnection(key: number, direction?: number): Expression {
  const of = direction === undefined ? {} : { NFTA_CT_DIRECTION: direction };
  return { name: "ct", data: { NFTA_CT_KEY: key, NFTA_CT_DREG: NFT_REG_1, ...of } };
}

/** The connection's mark becomes what is in the register. */
export const storeConnectionMark: Expression = {
  name: "ct",
  data: { NFTA_CT_KEY: NFT_CT_MARK, NFTA_CT_SREG: NFT_REG_1 },
};

/** Looks up the route of the addresses that the flags name (NFTA_FIB_F_*); the result is NFT_FIB_RESULT_*. */
export function lookUpRoute(flags: number, result: number): Expression {
  return {
    name: "fib",
    data: { NFTA_FIB_FLAGS: flags, NFTA_FIB_RESULT: result, NFTA_FIB_DREG: NFT_REG_1 },
  };
}

/** Asks whether an IPv6 packet has an extension header of that number. */
export function hasExtension(number: number): Expression {
  return {
    name: "exthdr",
    data: {
      ...{ NFTA_EXTHDR_DREG: NFT_REG_1, NFTA_EXTHDR_TYPE: number, NFTA_EXTHDR_OFFSET: 0, NFTA_EXTHDR_LEN: 1 },
      ...{ NFTA_EXTHDR_FLAGS: NFT_EXTHDR_F_PRESENT, NFTA_EXTHDR_OP: 0 },
    },
  };
}

export const rejectUnreachable: Expression = {
  name: "reject",
  data: {
    NFTA_REJECT_TYPE: NFT_REJECT_ICMPX_UNREACH,
    NFTA_REJECT_ICMP_CODE: NFT_REJECT_ICMPX_HOST_UNREACH,
  },
};

export const clampMss: Expression[] = [
  { name: "rt", data: { NFTA_RT_KEY: NFT_RT_TCPMSS, NFTA_RT_DREG: NFT_REG_1 } },
  {
    name: "byteorder",
    data: {
      NFTA_BYTEORDER_SREG: NFT_REG_1,
      NFTA_BYTEORDER_DREG: NFT_REG_1,
      NFTA_BYTEORDER_OP: NFT_BYTEORDER_HTON,
      NFTA_BYTEORDER_LEN: maxsegBytes,
      NFTA_BYTEORDER_SIZE: maxsegBytes,
    },
  },
  {
    name: "exthdr",
    data: {
      NFTA_EXTHDR_SREG: NFT_REG_1,
      NFTA_EXTHDR_TYPE: tcpOptionMaxseg,
      NFTA_EXTHDR_OFFSET: maxsegOffset,
      NFTA_EXTHDR_LEN: maxsegBytes,
      NFTA_EXTHDR_OP: NFT_EXTHDR_OP_TCPOPT,
    },
  },
];
