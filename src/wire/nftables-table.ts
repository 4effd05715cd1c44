// The messages that ask for a table, and for what holds an address in a set (struct nfgenmsg,
// NFTA_TABLE_*, NFTA_SET_ELEM_*; linux/netfilter/nfnetlink.h, nf_tables.h), apart from all
// other nftables messages: a plugin process needs only these.
import { type Fields, list, message, NLA_F_NESTED, nested } from "./attributes.ts";
import { raw, text, u8 } from "./codec.ts";
import { u16Be, u32Be, u64Be } from "./nftables-numbers.ts";

export const NFNL_SUBSYS_NFTABLES = 10;
export const NFPROTO_INET = 1;
export const NFT_MSG_GETTABLE = (NFNL_SUBSYS_NFTABLES << 8) | 1;
export const NFT_MSG_GETSETELEM = (NFNL_SUBSYS_NFTABLES << 8) | 13;

/** In messages of the kernel, res_id is the end of the generation's number. */
export const nfgenmsg = { nfgen_family: u8, version: u8, res_id: u16Be } as const satisfies Fields;

export const tableMessage = message("nfgenmsg", nfgenmsg, {
  NFTA_TABLE_NAME: [1, text],
  NFTA_TABLE_FLAGS: [2, u32Be],
  /** The number of chains, sets, objects and flow tables in it. */
  NFTA_TABLE_USE: [3, u32Be],
  /** Of all tables that this network namespace ever had, only this one has it. */
  NFTA_TABLE_HANDLE: [4, u64Be],
});

const key = nested({ NFTA_DATA_VALUE: [1, raw] }, NLA_F_NESTED);
const element = nested({ NFTA_SET_ELEM_KEY: [1, key] }, NLA_F_NESTED);

/** Only written: what is read of elements is nftables-elements.ts. */
export const elementQuery = message("nfgenmsg", nfgenmsg, {
  NFTA_SET_ELEM_LIST_TABLE: [1, text],
  NFTA_SET_ELEM_LIST_SET: [2, text],
  NFTA_SET_ELEM_LIST_ELEMENTS: [3, list(element, NLA_F_NESTED)],
});
