// WireGuard's generic netlink messages: WGDEVICE_A_*, WGPEER_A_*,
// WGALLOWEDIP_A_* (linux/wireguard.h). One table serves both directions; which
// attributes go which way is in the header's comment.
import type { Endpoint } from "../net/device.ts";
import { type Attributes, list, message, NLA_F_NESTED, nested } from "./attributes.ts";
import {
  AF_INET,
  AF_INET6,
  type Codec,
  checkLength,
  ipAddress,
  key,
  presharedKey,
  readU16,
  readU16BigEndian,
  text,
  u8,
  u16,
  u32,
  u64,
} from "./codec.ts";
import { DecodeError } from "./error.ts";
import { genlmsghdr } from "./genl.ts";

export const WG_GENL_NAME = "wireguard";
export const WG_GENL_VERSION = 1;
export const WG_CMD_GET_DEVICE = 0;
export const WG_CMD_SET_DEVICE = 1;

export const WGDEVICE_F_REPLACE_PEERS = 1;
export const WGPEER_F_REMOVE_ME = 1;
export const WGPEER_F_REPLACE_ALLOWEDIPS = 2;
export const WGPEER_F_UPDATE_ONLY = 4;

const sockaddrInBytes = 16;
const sockaddrIn6Bytes = 28;

/**
 * struct sockaddr_in or sockaddr_in6 (netinet/in.h): family in host order, port
 * and address in network order.
 *
 *   | u16 AF_INET  | port |             address 4  | zeros 8    |
 *   | u16 AF_INET6 | port | flow info 4 | address 16 | scope id 4 |
 */
export const socketAddress: Codec<Endpoint> = {
  write(to, { ip, port }) {
    const v6 = ip.includes(":");
    to.unsigned(v6 ? AF_INET6 : AF_INET, 2);
    to.unsigned16BigEndian(port);
    if (v6) to.zeros(4);
    ipAddress.write(to, ip);
    to.zeros(v6 ? 4 : 8);
  },
  read(bytes, at, end) {
    if (end - at < sockaddrInBytes)
      throw new DecodeError(`has ${end - at} bytes, less than ${sockaddrInBytes}`);
    const family = readU16(bytes, at);
    const port = readU16BigEndian(bytes, at + 2);
    if (family === AF_INET) return { ip: ipAddress.read(bytes, at + 4, at + 8), port };
    if (family !== AF_INET6) throw new DecodeError(`has address family ${family}`);
    checkLength(end - at, sockaddrIn6Bytes);
    return { ip: ipAddress.read(bytes, at + 8, at + 24), port };
  },
};

/** struct __kernel_timespec (two 64-bit numbers), as milliseconds. */
const timespec: Codec<number> = {
  write(to, milliseconds) {
    u64.write(to, Math.floor(milliseconds / 1000));
    u64.write(to, (milliseconds % 1000) * 1_000_000);
  },
  read(bytes, at, end) {
    checkLength(end - at, 16);
    return u64.read(bytes, at, at + 8) * 1000 + Math.floor(u64.read(bytes, at + 8, end) / 1_000_000);
  },
};

const allowedIp = nested(
  {
    WGALLOWEDIP_A_FAMILY: [1, u16],
    WGALLOWEDIP_A_IPADDR: [2, ipAddress],
    WGALLOWEDIP_A_CIDR_MASK: [3, u8],
  },
  NLA_F_NESTED,
);

const peerTable = {
  WGPEER_A_PUBLIC_KEY: [1, key],
  WGPEER_A_PRESHARED_KEY: [2, presharedKey],
  WGPEER_A_FLAGS: [3, u32],
  WGPEER_A_ENDPOINT: [4, socketAddress],
  WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: [5, u16],
  WGPEER_A_LAST_HANDSHAKE_TIME: [6, timespec],
  WGPEER_A_RX_BYTES: [7, u64],
  WGPEER_A_TX_BYTES: [8, u64],
  WGPEER_A_ALLOWEDIPS: [9, list(allowedIp, NLA_F_NESTED)],
  WGPEER_A_PROTOCOL_VERSION: [10, u32],
} as const;

const peer = nested(peerTable, NLA_F_NESTED);

export const deviceMessage = message("wireguard", genlmsghdr, {
  WGDEVICE_A_IFINDEX: [1, u32],
  WGDEVICE_A_IFNAME: [2, text],
  WGDEVICE_A_PRIVATE_KEY: [3, key],
  WGDEVICE_A_PUBLIC_KEY: [4, key],
  WGDEVICE_A_FLAGS: [5, u32],
  WGDEVICE_A_LISTEN_PORT: [6, u16],
  WGDEVICE_A_FWMARK: [7, u32],
  WGDEVICE_A_PEERS: [8, list(peer, NLA_F_NESTED)],
});

export type PeerAttributes = Attributes<typeof peerTable>;
export type AllowedIpAttributes = NonNullable<PeerAttributes["WGPEER_A_ALLOWEDIPS"]>[number];
export type DeviceMessage = Parameters<typeof deviceMessage.write>[1];
