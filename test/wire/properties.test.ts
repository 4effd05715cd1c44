// Laws of all the tables: what is written is read back the same, and whatever
// bytes come, reading gives a value or a DecodeError.
import { describe, expect, test } from "bun:test";
import { addressMessage } from "../../src/wire/address.ts";
import { s32, u8, u16, u32, u64 } from "../../src/wire/codec.ts";
import { DecodeError } from "../../src/wire/error.ts";
import { controlMessage } from "../../src/wire/genl.ts";
import { linkMessage, vethInfo } from "../../src/wire/link.ts";
import { neighbourMessage } from "../../src/wire/neighbour.ts";
import { nextMessage, readAck, readHeader } from "../../src/wire/nlmsg.ts";
import { routeMessage } from "../../src/wire/route.ts";
import { ruleMessage } from "../../src/wire/rule.ts";
import { deviceMessage } from "../../src/wire/wireguard.ts";
import { Writer } from "../../src/wire/writer.ts";
import { decode, encode } from "./bytes.ts";
import { random } from "./random.ts";

const codecs = {
  linkMessage,
  vethInfo,
  addressMessage,
  routeMessage,
  ruleMessage,
  neighbourMessage,
  controlMessage,
  deviceMessage,
};

/** Bytes that are nearly a message: a header of any bytes, attributes of plausible length, nests within. */
function messageBytes(below: (n: number) => number, headerBytes: number): Uint8Array {
  const writer = new Writer();
  for (let i = 0; i < headerBytes; i++) writer.unsigned(below(256), 1);
  attributes(writer, below, 3);
  const bytes = writer.written.slice();
  // One of four is damaged.
  if (below(4) === 0 && bytes.length > 0) bytes[below(bytes.length)] = below(256);
  return bytes.subarray(0, below(5) === 0 ? below(bytes.length + 1) : bytes.length);
}

function attributes(writer: Writer, below: (n: number) => number, depth: number): void {
  for (let count = below(6); count > 0; count--) {
    const nest = depth > 0 && below(3) === 0;
    const start = writer.beginAttribute(below(48) | (nest ? 0x8000 : 0));
    if (nest) attributes(writer, below, depth - 1);
    else
      for (let n = [0, 1, 2, 4, 4, 6, 8, 16, 28, 32][below(10)] as number; n > 0; n--)
        writer.unsigned(below(256), 1);
    writer.endAttribute(start);
  }
}

describe.each(Object.entries(codecs))("%s", (_name, codec) => {
  test("any bytes give a value that is written and read back the same, or a DecodeError", () => {
    const below = random(1);
    let values = 0;
    for (let i = 0; i < 3000; i++) {
      const bytes = messageBytes(below, [0, 4, 8, 12, 16][below(5)] as number);
      let value: ReturnType<typeof codec.read>;
      try {
        value = decode(codec as typeof linkMessage, bytes) as never;
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
        continue;
      }
      values++;
      // The first reading may lose what was written twice or not canonically; from then on nothing is lost.
      const again = decodeOrSkip(codec as typeof linkMessage, value);
      if (again !== undefined)
        expect(decode(codec as typeof linkMessage, encode(codec as typeof linkMessage, again))).toEqual(
          again,
        );
    }
    expect(values).toBeGreaterThan(100);
  });
});

/** Only link addresses are read in lengths that are never written. */
function decodeOrSkip(codec: typeof linkMessage, value: unknown) {
  try {
    return decode(codec, encode(codec, value as never));
  } catch (error) {
    if (error instanceof Error && error.message.includes("is not a MAC address")) return undefined;
    throw error;
  }
}

test("any bytes as frames end in an acknowledgement read, the end, or a DecodeError", () => {
  const below = random(2);
  for (let i = 0; i < 5000; i++) {
    const bytes = Uint8Array.from({ length: below(80) }, () => below(below(4) === 0 ? 256 : 40));
    try {
      for (let at = 0; at < bytes.length; ) {
        const header = readHeader(bytes, at, bytes.length);
        expect(readAck(bytes, header).errno).toBeNumber();
        expect(nextMessage(header)).toBeGreaterThan(at);
        at = nextMessage(header);
      }
    } catch (error) {
      expect(error).toBeInstanceOf(DecodeError);
    }
  }
});

describe("numbers", () => {
  const cases = [
    [u8, [0, 1, 255], [-1, 256, 1.5, Number.NaN]],
    [u16, [0, 255, 256, 65535], [-1, 65536]],
    [u32, [0, 65536, 0x80000000, 0xffffffff], [-1, 2 ** 32]],
    [s32, [0, 1, -1, 0x7fffffff, -0x80000000], []],
    [u64, [0, 1, 0xffffffff, 2 ** 32, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER], [-1]],
  ] as const;

  test("are read as written, in as many bytes as they say", () => {
    for (const [codec, values] of cases)
      for (const value of values) {
        const bytes = encode(codec, value);
        expect(bytes.length).toBe(codec.bytes);
        expect(decode(codec, bytes)).toBe(value);
        expect(() => codec.read(bytes, 0, bytes.length - 1)).toThrow(DecodeError);
      }
  });

  test("are refused if they do not fit", () => {
    for (const [codec, , values] of cases)
      for (const value of values) expect(() => encode(codec, value)).toThrow(RangeError);
  });
});

describe("the writer", () => {
  test("keeps what is written while it grows", () => {
    const writer = new Writer(1);
    const written: number[] = [];
    for (let i = 0; i < 300; i++) {
      const chunk = Uint8Array.from({ length: i % 7 }, (_, j) => (i + j) & 255);
      writer.raw(chunk);
      written.push(...chunk);
    }
    expect([...writer.written]).toEqual(written);
  });

  test("refuses an attribute over 65,535 bytes", () => {
    const writer = new Writer();
    const start = writer.beginAttribute(1);
    writer.zeros(65_532);
    expect(() => writer.endAttribute(start)).toThrow("at most 65531 bytes");
  });
});

test("a DecodeError names the place where it happened", () => {
  const bytes = Uint8Array.fromHex(`${"00".repeat(12)}0800080006000200aabb0000`);
  expect(() => decode(routeMessage, bytes)).toThrow(
    "rtmsg: RTA_METRICS: an attribute of 6 bytes, but 4 are left",
  );
  const metrics = Uint8Array.fromHex(`${"00".repeat(12)}0c00080006000200aabb0000`);
  expect(() => decode(routeMessage, metrics)).toThrow("rtmsg: RTA_METRICS: RTAX_MTU: has 2 bytes, not 4");
});
