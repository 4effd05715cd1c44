// Policy rules: struct fib_rule_hdr and FRA_* (linux/fib_rules.h).
import { message } from "./attributes.ts";
import { ipAddress, text, u8, u32 } from "./codec.ts";

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
export const RTM_GETRULE = 34;

export const FIB_RULE_INVERT = 2;

const fibRuleHeader = {
  family: u8,
  dst_len: u8,
  src_len: u8,
  tos: u8,
  table: u8,
  res1: u8,
  res2: u8,
  action: u8,
  flags: u32,
} as const;

export const ruleMessage = message("fib_rule_hdr", fibRuleHeader, {
  FRA_DST: [1, ipAddress],
  FRA_SRC: [2, ipAddress],
  FRA_IIFNAME: [3, text],
  FRA_GOTO: [4, u32],
  FRA_PRIORITY: [6, u32],
  FRA_FWMARK: [10, u32],
  FRA_SUPPRESS_PREFIXLEN: [14, u32],
  FRA_TABLE: [15, u32],
  FRA_FWMASK: [16, u32],
  FRA_OIFNAME: [17, text],
  FRA_PROTOCOL: [21, u8],
});
