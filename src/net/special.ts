// Addresses that are nobody's own: loopback, link-local, multicast, reserved (RFC
// 6890). No I/O.
import { familyOf } from "./ip.ts";

/** What an address is, in words, that no other node can reach; undefined for one that may be a node's. */
export function specialAddress(ip: string): string | undefined {
  if (familyOf(ip) === 4) {
    const first = Number(ip.slice(0, ip.indexOf(".")));
    if (first === 0) return "the unspecified network";
    if (first === 127) return "a loopback address";
    if (ip.startsWith("169.254.")) return "a link-local address";
    if (first >= 224) return first === 255 ? "a broadcast address" : "a multicast or reserved address";
    return undefined;
  }
  if (ip === "::") return "the unspecified address";
  if (ip === "::1") return "a loopback address";
  if (ip.startsWith("::ffff:")) return "an IPv4 address written as IPv6";
  if (/^fe[89ab]/.test(ip)) return "a link-local address";
  if (ip.startsWith("ff")) return "a multicast address";
  return undefined;
}
