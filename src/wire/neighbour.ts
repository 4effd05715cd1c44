// Neighbour table: struct ndmsg and NDA_* (linux/neighbour.h).
import { message } from "./attributes.ts";
import { ipAddress, linkAddress, s32, u8, u16, u32 } from "./codec.ts";

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;

/** ndm_family of what a bridge has learned (linux/socket.h). */
export const AF_BRIDGE = 7;

export const NUD_INCOMPLETE = 0x01;
export const NUD_REACHABLE = 0x02;
export const NUD_FAILED = 0x20;
export const NUD_PERMANENT = 0x80;

const ndmsg = {
  ndm_family: u8,
  ndm_pad1: u8,
  ndm_pad2: u16,
  ndm_ifindex: s32,
  ndm_state: u16,
  ndm_flags: u8,
  ndm_type: u8,
} as const;

export const neighbourMessage = message("ndmsg", ndmsg, {
  NDA_DST: [1, ipAddress],
  NDA_LLADDR: [2, linkAddress],
  NDA_IFINDEX: [8, u32],
});
