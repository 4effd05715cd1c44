// The tests of wire formats share helpers: bytes from text, one field a line as in
// a kernel header, and both directions of a codec.
import { expect } from "bun:test";
import type { Codec } from "../../src/wire/codec.ts";
import { Writer } from "../../src/wire/writer.ts";

/** The bytes of hex digits; white space divides fields, "#" begins a comment. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replace(/#.*$/gm, "").replace(/\s+/g, ""));
}

export function encode<T>(codec: Pick<Codec<T>, "write">, value: T): Uint8Array {
  const writer = new Writer();
  codec.write(writer, value);
  return writer.written.slice();
}

export function decode<R>(
  codec: { read(bytes: Uint8Array, at: number, end: number): R },
  bytes: Uint8Array,
): R {
  return codec.read(bytes, 0, bytes.length);
}

/** The bytes are read as a value with these properties, and the value read is written as the same bytes. */
export function expectBothWays<R extends object>(
  codec: { read(bytes: Uint8Array, at: number, end: number): R; write(to: Writer, value: R): void },
  hex: string,
  value: Partial<R>,
): void {
  const bytes = bytesOf(hex);
  const read = decode(codec, bytes);
  expect(read).toMatchObject(value);
  expect(encode(codec, read).toHex()).toBe(bytes.toHex());
}
