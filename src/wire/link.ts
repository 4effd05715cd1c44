// Network interfaces: struct ifinfomsg and IFLA_* (linux/if_link.h,
// linux/rtnetlink.h, linux/veth.h).
import { message, nested } from "./attributes.ts";
import { type Codec, linkAddress, raw, s32, text, u8, u16, u32, u64 } from "./codec.ts";

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_SETLINK = 19;

export const IFF_UP = 1;
/** Leaves the statistics out of a reply, which are most of it. */
export const RTEXT_FILTER_SKIP_STATS = 8;
export const IN6_ADDR_GEN_MODE_NONE = 1;

const ifinfomsg = {
  ifi_family: u8,
  __ifi_pad: u8,
  ifi_type: u16,
  ifi_index: s32,
  ifi_flags: u32,
  ifi_change: u32,
} as const;

const linkInfo = nested({
  IFLA_INFO_KIND: [1, text],
  // Its layout depends on the kind: vethInfo for a veth.
  IFLA_INFO_DATA: [2, raw],
});

/**
 * IPV4_DEVCONF_* (linux/ip.h). Each is an attribute in a request; the kernel sends an array of all
 * of them, which is not read here: /proc/sys has the same values.
 */
const inetConf = {
  ...nested({
    IPV4_DEVCONF_PROXY_ARP: [3, u32],
    IPV4_DEVCONF_ACCEPT_REDIRECTS: [4, u32],
    IPV4_DEVCONF_SEND_REDIRECTS: [6, u32],
    IPV4_DEVCONF_RP_FILTER: [8, u32],
  }),
  read: () => ({}),
};

const inet = nested({ IFLA_INET_CONF: [1, inetConf] });

const inet6 = nested({ IFLA_INET6_ADDR_GEN_MODE: [8, u8] });

const afSpec = nested({ AF_INET: [2, inet], AF_INET6: [10, inet6] });

/** The beginning of struct rtnl_link_stats64: received and transmitted packets, of 8 bytes each. The value is the second. */
const linkStats: Codec<number> = {
  write: (to, value) => {
    u64.write(to, 0);
    u64.write(to, value);
  },
  read: (bytes, at, end) => u64.read(bytes, at + 8, Math.min(at + 16, end)),
};

export const linkMessage = message("ifinfomsg", ifinfomsg, {
  IFLA_ADDRESS: [1, linkAddress],
  IFLA_IFNAME: [3, text],
  IFLA_MTU: [4, u32],
  IFLA_LINK: [5, s32],
  IFLA_MASTER: [10, u32],
  IFLA_LINKINFO: [18, linkInfo],
  IFLA_STATS64: [23, linkStats],
  IFLA_AF_SPEC: [26, afSpec],
  IFLA_GROUP: [27, u32],
  IFLA_NET_NS_FD: [28, u32],
  IFLA_EXT_MASK: [29, u32],
  IFLA_LINK_NETNSID: [37, s32],
});

/** IFLA_INFO_DATA of a veth to be made: the other end is a link message of its own. */
export const vethInfo = nested({ VETH_INFO_PEER: [1, linkMessage] });
