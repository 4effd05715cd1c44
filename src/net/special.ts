// Addresses and networks that belong to no host: loopback, link-local, multicast,
// reserved (RFC 6890). No I/O.
import { familyOf } from "./ip.ts";
import { prefixContains } from "./prefix.ts";

/** Describes an address that no other node can reach; undefined for one that may be a node's. */
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

/** 10.0.0.0/8 and fd00::/8 are the widest networks that one owner can have. */
export const widestNetwork = 8;

/** Special networks that a wide one can have in it without beginning in them. */
const innerSpecialNetworks = ["169.254.0.0/16", "fe80::/10"];

/** Says why a canonical prefix is no network of pods, in words that follow it; undefined for one that may be. */
export function specialNetwork(prefix: string): string | undefined {
  const slash = prefix.indexOf("/");
  const length = Number(prefix.slice(slash + 1));
  if (length === 0) return "is everything";
  const special = specialAddress(prefix.slice(0, slash));
  if (special !== undefined) return `is ${special}`;
  if (length < widestNetwork) return `is too wide; a /${widestNetwork} is the widest that is taken`;
  const inside =
    length < 16 ? innerSpecialNetworks.find((inner) => prefixContains(prefix, inner)) : undefined;
  return inside === undefined ? undefined : `has ${inside} in it`;
}

/**
 * Networks that no node and no pod has anywhere, beside those that a record cannot even name: the clouds'
 * services for their machines (metadata, wire servers, resolvers), and IPv6's ranges for IPv4 (RFC 4291, 6052).
 */
export const reservedNetworks: readonly { readonly network: string; readonly whose: string }[] = [
  { network: "169.254.0.0/16", whose: "the link-local network, with the clouds' metadata" },
  { network: "fe80::/10", whose: "the link-local network" },
  { network: "::/8", whose: "what IPv6 keeps for IPv4 and itself" },
  { network: "168.63.129.16/32", whose: "Azure's wire server and resolver" },
  { network: "100.100.100.200/32", whose: "Alibaba Cloud's metadata service" },
  { network: "192.0.0.0/24", whose: "a network of protocol assignments, with Oracle Cloud's metadata" },
  { network: "fd00:ec2::/32", whose: "AWS's network of metadata, time and resolvers" },
  { network: "fd20:ce::254/128", whose: "Google Cloud's metadata service" },
];

/** Networks that the Internet does not route (IANA's special-purpose registries: not globally reachable). */
export const privateNetworks: readonly string[] = [
  ...["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15"],
  ...["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"],
  ...["fc00::/7", "2001:db8::/32"],
];
