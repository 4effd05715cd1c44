// Routes: struct rtmsg, RTA_* and RTAX_* (linux/rtnetlink.h).
import { message, nested } from "./attributes.ts";
import { AF_INET, AF_INET6, type Codec, ipAddress, raw, readU16, readU32, u8, u32 } from "./codec.ts";
import { DecodeError } from "./error.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

/** The next hop cannot be used, or its interface has no carrier. */
export const RTNH_F_DEAD = 1;
export const RTNH_F_LINKDOWN = 16;
export const RTNH_F_ONLINK = 4;
/** An entry of the routing cache, not a route. */
export const RTM_F_CLONED = 0x200;
/** Asks for the route itself, not for its entry in the cache. */
export const RTM_F_FIB_MATCH = 0x2000;

const rtmsg = {
  rtm_family: u8,
  rtm_dst_len: u8,
  rtm_src_len: u8,
  rtm_tos: u8,
  rtm_table: u8,
  rtm_protocol: u8,
  rtm_scope: u8,
  rtm_type: u8,
  rtm_flags: u32,
} as const;

const metrics = nested({ RTAX_MTU: [2, u32], RTAX_ADVMSS: [8, u32] });

/** struct rtnexthop of each hop: u16 length, u8 flags, u8 hops, s32 interface; then its attributes, padded to 4. */
export const nexthopHeaderBytes = 8;

/** struct rtvia: a gateway of the other address family. */
const via: Codec<string> = {
  write(to, value) {
    to.unsigned(value.includes(":") ? AF_INET6 : AF_INET, 2);
    ipAddress.write(to, value);
  },
  read(bytes, at, end) {
    if (end - at < 2) throw new DecodeError(`has ${end - at} bytes, less than 2`);
    const family = readU16(bytes, at);
    if (family !== AF_INET && family !== AF_INET6) throw new DecodeError(`has address family ${family}`);
    return ipAddress.read(bytes, at + 2, end);
  },
};

const nexthopAttributes = nested({ RTA_GATEWAY: [5, ipAddress], RTA_VIA: [18, via] });

/** One of several next hops of a route. */
export interface Nexthop {
  readonly interfaceIndex: number;
  readonly gateway?: string;
}

/** The next hops of an RTA_MULTIPATH. Throws DecodeError. */
export function nexthops(hops: Uint8Array): Nexthop[] {
  const found: Nexthop[] = [];
  for (let at = 0; at < hops.length; ) {
    const left = hops.length - at;
    const length = left < nexthopHeaderBytes ? 0 : readU16(hops, at);
    if (length < nexthopHeaderBytes || length > left)
      throw new DecodeError(`RTA_MULTIPATH: a next hop of ${length} bytes, but ${left} are left`);
    const interfaceIndex = readU32(hops, at + 4);
    const { RTA_GATEWAY, RTA_VIA } = nexthopAttributes.read(hops, at + nexthopHeaderBytes, at + length);
    const gateway = RTA_GATEWAY ?? RTA_VIA;
    found.push({ interfaceIndex, ...(gateway === undefined ? {} : { gateway }) });
    at += (length + 3) & ~3;
  }
  return found;
}

export const routeMessage = message("rtmsg", rtmsg, {
  RTA_DST: [1, ipAddress],
  RTA_SRC: [2, ipAddress],
  RTA_IIF: [3, u32],
  RTA_OIF: [4, u32],
  RTA_GATEWAY: [5, ipAddress],
  RTA_PRIORITY: [6, u32],
  RTA_PREFSRC: [7, ipAddress],
  RTA_METRICS: [8, metrics],
  RTA_MULTIPATH: [9, raw],
  RTA_CACHEINFO: [12, raw],
  RTA_TABLE: [15, u32],
  RTA_MARK: [16, u32],
  RTA_VIA: [18, via],
  RTA_ENCAP_TYPE: [21, raw],
  RTA_ENCAP: [22, raw],
  RTA_EXPIRES: [23, u32],
  RTA_NH_ID: [30, u32],
});
