// CIDR prefixes as canonical text ("10.1.0.0/16": host bits cleared), with the
// few set operations that routing needs. User-facing ranges and their
// arithmetic belong to ipam/.
import { ParseError } from "./error.ts";
import { type Family, familyBits, familyOf, findDecimal, formatIp, ipBytes, ipv4Number } from "./ip.ts";

/** An address with the length of its network: "10.1.2.3/16" on an interface. */
export interface InterfaceAddress {
  readonly ip: string;
  readonly length: number;
}

/** Splits "IP/LENGTH", host bits kept; canonical address. Throws ParseError. */
export function parseInterfaceAddress(text: string): InterfaceAddress {
  const slash = text.indexOf("/");
  const length = slash < 0 ? undefined : findDecimal(text.slice(slash + 1));
  if (length === undefined) throw new ParseError(`"${text}" is not a CIDR (expected ADDRESS/LENGTH)`);
  const bytes = ipBytes(text.slice(0, slash));
  if (length > bytes.length * 8)
    throw new ParseError(`"${text}" has a prefix length over ${bytes.length * 8}`);
  return { ip: formatIp(bytes), length };
}

/** Canonical text of a CIDR, host bits cleared. Throws ParseError. */
export function parsePrefix(text: string): string {
  const { ip, length } = parseInterfaceAddress(text);
  return formatPrefix(ipBytes(ip), length);
}

/** Canonical text of network bytes and a length in bits, host bits cleared. */
export function formatPrefix(bytes: Uint8Array, length: number): string {
  return `${formatIp(maskBytes(bytes, length))}/${length}`;
}

/** The /32 or /128 of one address. */
export function hostPrefix(ip: string): string {
  return `${ip}/${familyBits(familyOf(ip))}`;
}

/** The default route's destination. */
export function defaultPrefix(family: Family): string {
  return family === 4 ? "0.0.0.0/0" : "::/0";
}

/** Network bytes and length of a canonical prefix. Throws ParseError. */
export function prefixBytes(prefix: string): { bytes: Uint8Array; length: number } {
  const slash = prefix.indexOf("/");
  if (slash < 0) throw new ParseError(`"${prefix}" is not a CIDR (expected ADDRESS/LENGTH)`);
  return { bytes: ipBytes(prefix.slice(0, slash)), length: Number(prefix.slice(slash + 1)) };
}

/** True if every address of `inner` is in `outer`; families never mix. */
export function prefixContains(outer: string, inner: string): boolean {
  const a = prefixBytes(outer);
  const b = prefixBytes(inner);
  if (a.bytes.length !== b.bytes.length || b.length < a.length) return false;
  const masked = maskBytes(b.bytes, a.length);
  return a.bytes.every((byte, i) => byte === masked[i]);
}

/**
 * True if the address is in the canonical prefix. For thousands of both: without bytes for IPv4, and
 * for IPv6 only if their first 16 bits are the same.
 */
export function prefixHolds(prefix: string, ip: string): boolean {
  const family = familyOf(prefix);
  if (family !== familyOf(ip)) return false;
  const length = Number(prefix.slice(prefix.indexOf("/") + 1));
  if (family === 4) {
    const size = 2 ** (32 - length);
    return Math.floor(ipv4Number(prefix) / size) === Math.floor(ipv4Number(ip) / size);
  }
  if (length >= 16 && prefix.slice(0, prefix.indexOf(":")) !== ip.slice(0, ip.indexOf(":"))) return false;
  return prefixContains(prefix, hostPrefix(ip));
}

/** True if two prefixes share an address: then one contains the other. */
export function prefixesOverlap(a: string, b: string): boolean {
  return prefixContains(a, b) || prefixContains(b, a);
}

/** Returns the fewest prefixes that cover `outer` without `inner`, which is in it; none if the two are the same. */
export function subtractPrefix(outer: string, inner: string): string[] {
  const { length: from } = prefixBytes(outer);
  const { bytes, length: to } = prefixBytes(inner);
  return Array.from({ length: to - from }, (_, i) => {
    // The other half of what holds `inner` at each step from the wider to the narrower.
    const bit = from + i;
    const sibling = bytes.slice();
    sibling[bit >> 3] = (sibling[bit >> 3] as number) ^ (0x80 >> (bit & 7));
    return formatPrefix(sibling, bit + 1);
  });
}

/** Orders prefixes by family, network bytes, then length: a container stands before its parts. */
export function comparePrefixes(a: string, b: string): number {
  const x = prefixBytes(a);
  const y = prefixBytes(b);
  if (x.bytes.length !== y.bytes.length) return x.bytes.length - y.bytes.length;
  for (let i = 0; i < x.bytes.length; i++) {
    const difference = (x.bytes[i] as number) - (y.bytes[i] as number);
    if (difference !== 0) return difference;
  }
  return x.length - y.length;
}

function maskBytes(bytes: Uint8Array, length: number): Uint8Array {
  const masked = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const bits = length - 8 * i;
    if (bits >= 8) masked[i] = bytes[i] as number;
    else if (bits > 0) masked[i] = (bytes[i] as number) & (0xff << (8 - bits));
  }
  return masked;
}
