// The functions compare and count addresses: which is lower, which comes next, how many are
// between two. Only this directory counts addresses; everywhere else they are text.
// On the path of every ADD, so it stays with bytes and plain loops: the first
// BigInt, iterator or generator of a process costs 0.1 ms each.
import { type Family, familyBits, formatIp, ipBytes } from "../net/ip.ts";
import { prefixBytes } from "../net/prefix.ts";

/** Negative if `a` is the lower of two addresses of one family, 0 if they are the same. */
export function compareIps(a: string, b: string): number {
  return compareBytes(ipBytes(a), ipBytes(b));
}

export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Makes an address the next one, in place; the highest becomes the lowest. */
export function increment(bytes: Uint8Array): void {
  for (let i = bytes.length - 1; i >= 0; i--) {
    const value = ((bytes[i] ?? 0) + 1) & 0xff;
    bytes[i] = value;
    if (value !== 0) return;
  }
}

/** Returns the first and the last address that a prefix's hosts may have: not the network's own, nor IPv4's broadcast. */
export function hostAddresses(prefix: string, family: Family): { first: string; last: string } {
  const { bytes, length } = prefixBytes(prefix);
  const last = bytes.slice();
  for (let bit = length; bit < familyBits(family); bit++) {
    const i = bit >> 3;
    last[i] = (last[i] ?? 0) | (0x80 >> (bit & 7));
  }
  if (family === 4) last[3] = (last[3] ?? 0) - 1;
  increment(bytes);
  return { first: formatIp(bytes), last: formatIp(last) };
}

/** Counts the addresses from one to another, including both. */
export function countBetween(first: string, last: string): bigint {
  return toNumber(last) - toNumber(first) + 1n;
}

function toNumber(ip: string): bigint {
  let value = 0n;
  for (const byte of ipBytes(ip)) value = (value << 8n) | BigInt(byte);
  return value;
}
