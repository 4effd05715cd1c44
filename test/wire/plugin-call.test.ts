// The conversation between plugin processes and the plugin server, as bytes.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { DecodeError } from "../../src/wire/error.ts";
import {
  type Call,
  CallReader,
  encodeCall,
  encodeReply,
  type Reply,
  ReplyReader,
} from "../../src/wire/plugin-call.ts";

const maxStdinBytes = 1000;
const calls: fc.Arbitrary<Call> = fc.record({
  env: fc.dictionary(fc.string(), fc.string()),
  netns: fc.string(),
  elapsedMs: fc.double({ min: 0, max: 1e6, noNaN: true }).map((ms) => ms + 0),
  sentAtMs: fc.nat(),
  stdin: fc.uint8Array({ maxLength: maxStdinBytes }),
});
const replies: fc.Arbitrary<Reply> = fc.record({
  kind: fc.constantFrom("hello", "stdout", "stderr", "exit", "declined"),
  text: fc.string({ unit: "grapheme" }),
});

/** Cuts bytes at the given places. */
function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}

describe("a request", () => {
  test("is read as it was written, in whatever pieces it comes", () => {
    fc.assert(
      fc.property(calls, fc.array(fc.nat()), (call, cuts) => {
        const reader = new CallReader(maxStdinBytes);
        const read = pieces(encodeCall(call), cuts).map((piece) => reader.push(piece));
        expect(read.at(-1)).toEqual(call);
        expect(read.slice(0, -1).filter((one, i, all) => one !== undefined && i < all.length - 1)).toEqual(
          [],
        );
      }),
    );
  });

  test("is refused if it is too large, before its bytes are kept", () => {
    const call = { env: {}, netns: "", elapsedMs: 0, sentAtMs: 0, stdin: new Uint8Array(maxStdinBytes + 1) };
    expect(() => new CallReader(maxStdinBytes).push(encodeCall(call).subarray(0, 8))).toThrow(DecodeError);
  });

  test("ends where it says that it ends", () => {
    const bytes = encodeCall({ env: {}, netns: "", elapsedMs: 0, sentAtMs: 0, stdin: new Uint8Array(1) });
    expect(() => new CallReader(maxStdinBytes).push(Uint8Array.of(...bytes, 0))).toThrow(DecodeError);
  });

  test("of any bytes is a call, incomplete, or refused", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const read = new CallReader(maxStdinBytes).push(bytes);
          if (read !== undefined)
            expect(Object.keys(read).sort()).toEqual(["elapsedMs", "env", "netns", "sentAtMs", "stdin"]);
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
        }
      }),
    );
  });
});

describe("replies", () => {
  test("are read as they were written, in whatever pieces they come", () => {
    fc.assert(
      fc.property(fc.array(replies), fc.array(fc.nat()), (written, cuts) => {
        const bytes = new Uint8Array(Buffer.concat(written.map(encodeReply)));
        const parts = pieces(bytes, cuts).filter((part) => part.length > 0);
        const reader = new ReplyReader(() => parts.shift() ?? new Uint8Array(0));
        const read: Reply[] = [];
        for (let reply = reader.next(); reply !== undefined; reply = reader.next()) read.push(reply);
        expect(read).toEqual(written);
      }),
    );
  });

  test("that end in the middle are none", () => {
    const bytes = encodeReply({ kind: "stdout", text: "abc" });
    for (let length = 0; length < bytes.length; length++) {
      const parts = [bytes.subarray(0, length)].filter((part) => part.length > 0);
      expect(new ReplyReader(() => parts.shift() ?? new Uint8Array(0)).next()).toBeUndefined();
    }
  });

  test("of another kind, or of gigabytes, are refused", () => {
    for (const bytes of [Uint8Array.of(9, 0, 0, 0, 0), Uint8Array.of(0, 255, 255, 255, 255)]) {
      expect(() => new ReplyReader(() => bytes).next()).toThrow(DecodeError);
    }
  });
});
