// Numbers of network namespaces, as links name the one that their other end is in: struct
// rtgenmsg and NETNSA_* (linux/rtnetlink.h, linux/net_namespace.h).
import { message } from "./attributes.ts";
import { s32, u8, u32 } from "./codec.ts";

export const RTM_GETNSID = 90;

export const netnsIdMessage = message(
  "rtgenmsg",
  { rtgen_family: u8 },
  {
    NETNSA_NSID: [1, s32],
    NETNSA_FD: [3, u32],
  },
);
