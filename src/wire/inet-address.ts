// struct sockaddr_in and sockaddr_in6: the address that a socket connects to (ip(7), ipv6(7)).
import { familyOf, ipBytes } from "../net/ip.ts";
import type { IpPort } from "../net/ip-port.ts";
import { AF_INET, AF_INET6 } from "./codec.ts";

/** Family in the machine's byte order, port in the network's, then the address; IPv6 has a flow label before it and a scope behind. */
export function encodeInetAddress({ ip, port }: IpPort): Uint8Array {
  const family = familyOf(ip);
  const bytes = new Uint8Array(family === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family === 4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(ipBytes(ip), family === 4 ? 4 : 8);
  return bytes;
}
