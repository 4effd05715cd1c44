// Addresses of interfaces: struct ifaddrmsg and IFA_* (linux/if_addr.h).
import { message } from "./attributes.ts";
import { ipAddress, u8, u32 } from "./codec.ts";

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
export const RTM_GETADDR = 22;

/** An IPv4 address with this flag is not the first of its network; an IPv6 address with it is temporary. */
export const IFA_F_SECONDARY = 0x01;
export const IFA_F_NODAD = 0x02;
export const IFA_F_DADFAILED = 0x08;
export const IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40;
export const IFA_F_NOPREFIXROUTE = 0x200;

const ifaddrmsg = {
  ifa_family: u8,
  ifa_prefixlen: u8,
  ifa_flags: u8,
  ifa_scope: u8,
  ifa_index: u32,
} as const;

export const addressMessage = message("ifaddrmsg", ifaddrmsg, {
  // The other end's address on point-to-point links, else the same as IFA_LOCAL.
  IFA_ADDRESS: [1, ipAddress],
  IFA_LOCAL: [2, ipAddress],
  // All the flags; ifa_flags has room for the first eight only.
  IFA_FLAGS: [8, u32],
});
