// IP addresses as values: canonical text (RFC 5952 for IPv6) in maps, diffs and
// the store; bytes only at the wire. No prefixes here (prefix.ts), no I/O.
import { ParseError } from "./error.ts";

export type Family = 4 | 6;

/** The family of a canonical address or prefix: whatever has a colon is IPv6. */
export function familyOf(text: string): Family {
  return text.includes(":") ? 6 : 4;
}

/** Width of an address in bits. */
export function familyBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

/** Returns the canonical text of an IPv4 or IPv6 address. Throws ParseError. */
export function parseIp(text: string): string {
  return formatIp(ipBytes(text));
}

/** True if `text` is an IPv4 or IPv6 address, canonical or not. */
export function isIp(text: string): boolean {
  return findIpBytes(text) !== undefined;
}

/** The 4 or 16 bytes of an address in network order. Throws ParseError. */
export function ipBytes(text: string): Uint8Array {
  const bytes = findIpBytes(text);
  if (bytes === undefined) throw new ParseError(`"${text}" is not an IP address`);
  return bytes;
}

/** Canonical text of 4 or 16 bytes. Throws ParseError on any other length. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length === 16) return formatIpv6(bytes);
  throw new ParseError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
}

/** A canonical IPv4 address, or that of a canonical prefix, as a number. Canonical text is not checked again. */
export function ipv4Number(prefix: string): number {
  let address = 0;
  let part = 0;
  for (let i = 0; ; i++) {
    const c = prefix.charCodeAt(i);
    if (c >= 0x30 && c <= 0x39) part = part * 10 + c - 0x30;
    else {
      address = address * 256 + part;
      part = 0;
      if (c !== 0x2e) return address;
    }
  }
}

/**
 * The value of one to three decimal digits; undefined for all else. Leading zeros
 * are refused: some parsers read them as octal (RFC 6943, 3.1.1). A loop, because
 * the first regular expression of a process costs it 0.06 ms.
 */
export function findDecimal(text: string): number | undefined {
  if (text === "" || text.length > 3 || (text.length > 1 && text.startsWith("0"))) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

function findIpBytes(text: string): Uint8Array | undefined {
  return text.includes(":") ? findIpv6Bytes(text) : findIpv4Bytes(text);
}

function findIpv4Bytes(text: string): Uint8Array | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const value = findDecimal(parts[i] as string);
    if (value === undefined || value > 255) return undefined;
    bytes[i] = value;
  }
  return bytes;
}

function findIpv6Bytes(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = findGroups(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? findGroups(halves[1] as string, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 16 - head.length - tail.length;
  // "::" stands for at least one group of zeros.
  if (halves.length === 2 ? missing < 2 : missing !== 0) return undefined;
  const bytes = new Uint8Array(16);
  bytes.set(head);
  bytes.set(tail, 16 - tail.length);
  return bytes;
}

/** Bytes of colon-separated groups; the last may be a dotted IPv4 address. */
function findGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === "") return [];
  const bytes: number[] = [];
  const groups = text.split(":");
  for (let i = 0; i < groups.length; i++) {
    const group = groups[i] as string;
    if (group.includes(".")) {
      const v4 = mayEndInIpv4 && i === groups.length - 1 ? findIpv4Bytes(group) : undefined;
      if (v4 === undefined) return undefined;
      bytes.push(...v4);
    } else {
      const value = findGroup(group);
      if (value === undefined) return undefined;
      bytes.push(value >> 8, value & 0xff);
    }
  }
  return bytes;
}

/** The value of one to four hexadecimal digits; undefined for all else. */
function findGroup(text: string): number | undefined {
  if (text === "" || text.length > 4) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const lower = c | 0x20;
    const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
    if (digit < 0) return undefined;
    value = value * 16 + digit;
  }
  return value;
}

/** RFC 5952: lower case, the first longest run of two or more zero groups as "::". */
function formatIpv6(bytes: Uint8Array): string {
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && bytes[2 * end] === 0 && bytes[2 * end + 1] === 0) end++;
    if (end - i > bestLength) {
      best = i;
      bestLength = end - i;
    }
    if (end > i) i = end;
  }
  const group = (i: number) => (((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number)).toString(16);
  const range = (from: number, to: number) => {
    const groups: string[] = [];
    for (let i = from; i < to; i++) groups.push(group(i));
    return groups.join(":");
  };
  return best < 0 ? range(0, 8) : `${range(0, best)}::${range(best + bestLength, 8)}`;
}
