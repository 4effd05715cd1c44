// Addresses as numbers, for counting and comparing. Only this folder counts
// addresses; everywhere else they are text.
import { type Family, familyBits, formatIp, ipBytes } from "../net/ip.ts";

/** An address's 32 or 128 bits. Throws ParseError. */
export function ipToNumber(ip: string): bigint {
  let value = 0n;
  for (const byte of ipBytes(ip)) value = (value << 8n) | BigInt(byte);
  return value;
}

/** Canonical text of an address's bits. */
export function ipFromNumber(value: bigint, family: Family): string {
  const bytes = new Uint8Array(familyBits(family) / 8);
  let rest = value;
  for (let i = bytes.length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return formatIp(bytes);
}
