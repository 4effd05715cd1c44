// Per-interface settings of IPv4, of which the kernel sends an event when they change: struct
// netconfmsg and NETCONFA_* (linux/netconf.h).
import { message } from "./attributes.ts";
import { s32, u8 } from "./codec.ts";

export const RTM_NEWNETCONF = 80;

/** NETCONFA_IFINDEX is -1 for `all`, -2 for `default`. */
export const netconfMessage = message("netconfmsg", { ncm_family: u8 } as const, {
  NETCONFA_IFINDEX: [1, s32],
  NETCONFA_FORWARDING: [2, s32],
  NETCONFA_RP_FILTER: [3, s32],
});
