// Codecs of single values: numbers, text, addresses, keys. Each writes a value
// to a Writer and reads it from a range of bytes; reading checks the length and
// throws DecodeError. Numbers are in host (little-endian) order unless the name
// says otherwise. Attribute tables are attributes.ts.
import { type Family, formatIp, ipBytes } from "../net/ip.ts";
import { formatKey, keyBytes, zeroKey } from "../net/key.ts";
import { formatMac, macBytes } from "../net/mac.ts";
import { DecodeError } from "./error.ts";
import type { Writer } from "./writer.ts";

export const AF_INET = 2;
export const AF_INET6 = 10;

export interface Codec<T> {
  write(to: Writer, value: T): void;
  /** Reads the bytes from `at` to before `end`. Throws DecodeError. */
  read(bytes: Uint8Array, at: number, end: number): T;
  /** NLA_F_* bits that go with the type of such an attribute. */
  readonly flags?: number;
}

/** A codec that always takes the same number of bytes: what headers are made of. */
export interface FixedCodec<T> extends Codec<T> {
  readonly bytes: number;
}

export const u8: FixedCodec<number> = {
  bytes: 1,
  write: (to, value) => to.unsigned(value, 1),
  read(bytes, at, end) {
    checkLength(end - at, 1);
    return bytes[at] as number;
  },
};

export const u16: FixedCodec<number> = {
  bytes: 2,
  write: (to, value) => to.unsigned(value, 2),
  read(bytes, at, end) {
    checkLength(end - at, 2);
    return readU16(bytes, at);
  },
};

export const u32: FixedCodec<number> = {
  bytes: 4,
  write: (to, value) => to.unsigned(value, 4),
  read(bytes, at, end) {
    checkLength(end - at, 4);
    return readU32(bytes, at);
  },
};

export const s32: FixedCodec<number> = {
  bytes: 4,
  write: (to, value) => to.unsigned(value >>> 0, 4),
  read(bytes, at, end) {
    checkLength(end - at, 4);
    return readU32(bytes, at) | 0;
  },
};

/** A JavaScript number: counters beyond 2^53 (9 petabytes) lose their last digits. */
export const u64: FixedCodec<number> = {
  bytes: 8,
  write(to, value) {
    to.unsigned(value % 2 ** 32, 4);
    to.unsigned(Math.floor(value / 2 ** 32), 4);
  },
  read(bytes, at, end) {
    checkLength(end - at, 8);
    return readU32(bytes, at + 4) * 2 ** 32 + readU32(bytes, at);
  },
};

/** Text ended by NUL; read with or without it, as the kernel takes both. */
export const text: Codec<string> = {
  write(to, value) {
    to.raw(encoder.encode(value));
    to.zeros(1);
  },
  read(bytes, at, end) {
    let stop = at;
    while (stop < end && bytes[stop] !== 0) stop++;
    return decoder.decode(bytes.subarray(at, stop));
  },
};

/** Bytes as they are, copied out of the message. */
export const raw: Codec<Uint8Array> = {
  write: (to, value) => to.raw(value),
  read: (bytes, at, end) => bytes.slice(at, end),
};

/** An IPv4 or IPv6 address; its length decides which. */
export const ipAddress: Codec<string> = {
  write: (to, value) => to.raw(ipBytes(value)),
  read(bytes, at, end) {
    if (end - at === 4) return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
    if (end - at === 16) return formatIp(bytes.subarray(at, end));
    throw new DecodeError(`has ${end - at} bytes, not the 4 or 16 of an address`);
  },
};

/** A link-layer address of any length; Ethernet ones only are written. */
export const linkAddress: Codec<string> = {
  write: (to, value) => to.raw(macBytes(value)),
  read: (bytes, at, end) => formatMac(bytes.subarray(at, end)),
};

export const key: Codec<string> = {
  write: (to, value) => to.raw(keyBytes(value)),
  read(bytes, at, end) {
    checkLength(end - at, 32);
    return formatKey(bytes.subarray(at, end));
  },
};

/** Stands for any preshared key that was read. */
export const hiddenKey = "(hidden)";

/** A preshared key: written in full, read only as `zeroKey` (none) or `hiddenKey`. */
export const presharedKey: Codec<string> = {
  write: key.write,
  read(bytes, at, end) {
    checkLength(end - at, 32);
    for (let i = at; i < end; i++) if (bytes[i] !== 0) return hiddenKey;
    return zeroKey;
  },
};

export function readU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export function readU16BigEndian(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  );
}

export function checkLength(length: number, expected: number): void {
  if (length !== expected) throw new DecodeError(`has ${length} bytes, not ${expected}`);
}

export function addressFamily(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** 4, 6, or undefined for families that are not IP. */
export function findFamily(addressFamily: number): Family | undefined {
  return addressFamily === AF_INET ? 4 : addressFamily === AF_INET6 ? 6 : undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
