// Numbers in network order, in which nftables has all of its own.
import { checkLength, type FixedCodec, readU16BigEndian } from "./codec.ts";

export const u16Be: FixedCodec<number> = {
  bytes: 2,
  write: (to, value) => to.unsigned16BigEndian(value),
  read(bytes, at, end) {
    checkLength(end - at, 2);
    return readU16BigEndian(bytes, at);
  },
};

export const u32Be: FixedCodec<number> = {
  bytes: 4,
  write(to, value) {
    to.unsigned16BigEndian(Math.floor(value / 0x10000));
    to.unsigned16BigEndian(value % 0x10000);
  },
  read(bytes, at, end) {
    checkLength(end - at, 4);
    return readU32Be(bytes, at);
  },
};

/** A priority, which may be negative. */
export const s32Be: FixedCodec<number> = {
  bytes: 4,
  write: (to, value) => u32Be.write(to, value >>> 0),
  read: (bytes, at, end) => u32Be.read(bytes, at, end) | 0,
};

/** A JavaScript number: values beyond 2^53 lose their last digits. */
export const u64Be: FixedCodec<number> = {
  bytes: 8,
  write(to, value) {
    u32Be.write(to, Math.floor(value / 2 ** 32));
    u32Be.write(to, value % 2 ** 32);
  },
  read(bytes, at, end) {
    checkLength(end - at, 8);
    return readU32Be(bytes, at) * 2 ** 32 + readU32Be(bytes, at + 4);
  },
};

function readU32Be(bytes: Uint8Array, at: number): number {
  return readU16BigEndian(bytes, at) * 0x10000 + readU16BigEndian(bytes, at + 2);
}
