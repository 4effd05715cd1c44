// Messages of nftables: struct nfgenmsg with NFTA_TABLE_*, NFTA_CHAIN_*,
// NFTA_RULE_*, NFTA_SET_* (linux/netfilter/nfnetlink.h, nf_tables.h). The
// contents of rules and sets have files of their own.
import { message, NLA_F_NESTED, nested } from "./attributes.ts";
import { raw, text } from "./codec.ts";
import { setElements } from "./nftables-elements.ts";
import { expression, expressionList } from "./nftables-expressions.ts";
import { s32Be, u32Be, u64Be } from "./nftables-numbers.ts";
import { NFNL_SUBSYS_NFTABLES, nfgenmsg } from "./nftables-table.ts";

export const NFNL_MSG_BATCH_BEGIN = 16;
export const NFNL_MSG_BATCH_END = 17;
export const NFPROTO_IPV4 = 2;
export const NFPROTO_ARP = 3;
export const NFPROTO_IPV6 = 10;

const type = (number: number) => (NFNL_SUBSYS_NFTABLES << 8) | number;
export const NFT_MSG_NEWTABLE = type(0);
export const NFT_MSG_DELTABLE = type(2);
export const NFT_MSG_NEWCHAIN = type(3);
export const NFT_MSG_GETCHAIN = type(4);
export const NFT_MSG_DELCHAIN = type(5);
export const NFT_MSG_NEWRULE = type(6);
export const NFT_MSG_GETRULE = type(7);
export const NFT_MSG_DELRULE = type(8);
export const NFT_MSG_NEWSET = type(9);
export const NFT_MSG_GETSET = type(10);
export const NFT_MSG_DELSET = type(11);
export const NFT_MSG_NEWSETELEM = type(12);
export const NFT_MSG_DELSETELEM = type(14);
export const NFT_MSG_NEWGEN = type(15);
export const NFT_MSG_GETGEN = type(16);

export const NFT_TABLE_F_DORMANT = 1;
export const NFT_SET_ANONYMOUS = 1;
export const NFT_SET_INTERVAL = 4;
/** Elements end by themselves. */
export const NFT_SET_TIMEOUT = 16;
/** Elements are added by packets ("dynamic"). */
export const NFT_SET_EVAL = 32;
/** The types that nft(8) calls ipv4_addr, ipv6_addr and ifname; the kernel only keeps the number. */
export const TYPE_IPADDR = 7;
export const TYPE_IP6ADDR = 8;
export const TYPE_IFNAME = 41;

/** Hooks by number: NF_INET_PRE_ROUTING and so on (linux/netfilter.h), NF_ARP_IN and NF_ARP_OUT (linux/netfilter_arp.h). */
export const hooks = {
  inet: ["prerouting", "input", "forward", "output", "postrouting"],
  arp: ["input", "output"],
} as const;

export const batchMessage = message("nfgenmsg", nfgenmsg, { NFNL_BATCH_GENID: [1, u32Be] });

export const generationMessage = message("nfgenmsg", nfgenmsg, { NFTA_GEN_ID: [1, u32Be] });

/** The attribute that all messages about a table and its objects have in common; the numbers of their other attributes clash. */
export const inTableMessage = message("nfgenmsg", nfgenmsg, { NFTA_TABLE_NAME: [1, text] });

const hook = nested(
  {
    NFTA_HOOK_HOOKNUM: [1, u32Be],
    NFTA_HOOK_PRIORITY: [2, s32Be],
    NFTA_HOOK_DEV: [3, text],
    NFTA_HOOK_DEVS: [4, raw],
  },
  NLA_F_NESTED,
);

export const chainMessage = message("nfgenmsg", nfgenmsg, {
  NFTA_CHAIN_TABLE: [1, text],
  NFTA_CHAIN_NAME: [3, text],
  NFTA_CHAIN_HOOK: [4, hook],
  NFTA_CHAIN_POLICY: [5, u32Be],
  NFTA_CHAIN_TYPE: [7, text],
});

export const ruleMessage = message("nfgenmsg", nfgenmsg, {
  NFTA_RULE_TABLE: [1, text],
  NFTA_RULE_CHAIN: [2, text],
  NFTA_RULE_EXPRESSIONS: [4, expressionList],
});

const description = nested({ NFTA_SET_DESC_SIZE: [1, u32Be], NFTA_SET_DESC_CONCAT: [2, raw] }, NLA_F_NESTED);

export const setMessage = message("nfgenmsg", nfgenmsg, {
  NFTA_SET_TABLE: [1, text],
  NFTA_SET_NAME: [2, text],
  NFTA_SET_FLAGS: [3, u32Be],
  NFTA_SET_KEY_TYPE: [4, u32Be],
  NFTA_SET_KEY_LEN: [5, u32Be],
  NFTA_SET_DATA_TYPE: [6, u32Be],
  NFTA_SET_DESC: [9, description],
  /** Told apart by this within a transaction; the kernel insists on it. */
  NFTA_SET_ID: [10, u32Be],
  /** Milliseconds. */
  NFTA_SET_TIMEOUT: [11, u64Be],
  /** The expression that each element gets. */
  NFTA_SET_EXPR: [17, expression],
  NFTA_SET_EXPRESSIONS: [18, expressionList],
});

export const elementsMessage = message("nfgenmsg", nfgenmsg, {
  NFTA_SET_ELEM_LIST_TABLE: [1, text],
  NFTA_SET_ELEM_LIST_SET: [2, text],
  NFTA_SET_ELEM_LIST_ELEMENTS: [3, setElements],
});
