// The message that names a table (struct nfgenmsg, NFTA_TABLE_*; linux/netfilter/nfnetlink.h,
// nf_tables.h), apart from all others: a plugin process asks for a table and mostly for
// nothing else.
import { type Fields, message } from "./attributes.ts";
import { text, u8 } from "./codec.ts";
import { u16Be, u32Be } from "./nftables-numbers.ts";

export const NFNL_SUBSYS_NFTABLES = 10;
export const NFPROTO_INET = 1;
export const NFT_MSG_GETTABLE = (NFNL_SUBSYS_NFTABLES << 8) | 1;

/** In what the kernel sends, res_id is the end of the generation's number. */
export const nfgenmsg = { nfgen_family: u8, version: u8, res_id: u16Be } as const satisfies Fields;

export const tableMessage = message("nfgenmsg", nfgenmsg, {
  NFTA_TABLE_NAME: [1, text],
  NFTA_TABLE_FLAGS: [2, u32Be],
  /** How many chains, sets, objects and flow tables are in it. */
  NFTA_TABLE_USE: [3, u32Be],
});
