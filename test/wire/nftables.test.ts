// Messages of nftables as nft(8) sends them and the kernel answers, captured as
// nftables-vectors.ts says. The netlink header is left out.
import { describe, expect, test } from "bun:test";
import type { NftCommand } from "../../src/net/nftables.ts";
import { formatNftRule } from "../../src/net/nftables-text.ts";
import { commandRequests } from "../../src/netlink/nft/objects.ts";
import { toExpressions, toNftRule } from "../../src/netlink/nft/statements.ts";
import { DecodeError } from "../../src/wire/error.ts";
import {
  batchMessage,
  chainMessage,
  generationMessage,
  ruleMessage,
  setMessage,
} from "../../src/wire/nftables.ts";
import { expressionList } from "../../src/wire/nftables-expressions.ts";
import { s32Be, u16Be, u32Be, u64Be } from "../../src/wire/nftables-numbers.ts";
import { tableMessage } from "../../src/wire/nftables-table.ts";
import { Writer } from "../../src/wire/writer.ts";
import { bytesOf, decode, encode, expectBothWays } from "./bytes.ts";
import { connectionVectors } from "./nftables-connection-vectors.ts";
import { exemptVectors } from "./nftables-exempt-vectors.ts";
import { headerVectors } from "./nftables-header-vectors.ts";
import { podVectors } from "./nftables-pods-vectors.ts";
import { sourceVectors } from "./nftables-source-vectors.ts";
import { ruleVectors } from "./nftables-vectors.ts";
import { random } from "./random.ts";

const table = "0b00010077672d636e690000";
const name = { family: "inet", name: "wg-cni" } as const;
const vectors = [
  ...ruleVectors,
  ...exemptVectors,
  ...connectionVectors,
  ...podVectors,
  ...sourceVectors,
  ...headerVectors,
];

describe("messages", () => {
  test("table inet wg-cni { }", () => {
    expectBothWays(tableMessage, `01000000 ${table} 0800020000000000`, {
      nfgen_family: 1,
      NFTA_TABLE_NAME: "wg-cni",
      NFTA_TABLE_FLAGS: 0,
    });
  });

  test("nft list table inet wg-cni: the table, at generation 12", () => {
    const answer = `0100000c ${table} 0800030000000006 0c0004000000000000000005 0800020000000000`;
    expect(decode(tableMessage, bytesOf(answer))).toMatchObject({ res_id: 12, NFTA_TABLE_USE: 6 });
  });

  test("type filter hook prerouting priority raw; policy accept;", () => {
    const hex = `
      01000000 ${table}
      0f000300707265726f7574696e670000
      0b00070066696c7465720000
      0800050000000001
      14000480 0800010000000000 08000200fffffed4`;
    expectBothWays(chainMessage, hex, {
      NFTA_CHAIN_NAME: "prerouting",
      NFTA_CHAIN_TYPE: "filter",
      NFTA_CHAIN_POLICY: 1,
      NFTA_CHAIN_HOOK: { NFTA_HOOK_HOOKNUM: 0, NFTA_HOOK_PRIORITY: -300 },
    });
  });

  test("type route hook output priority -50; policy accept;", () => {
    const hex = `
      01000000 ${table}
      0b0003006f75747075740000
      0a000700726f757465000000
      0800050000000001
      14000480 0800010000000003 08000200ffffffce`;
    expectBothWays(chainMessage, hex, { NFTA_CHAIN_TYPE: "route" });
    const base = { type: "route", hook: "output", priority: -50, policy: "accept" } as const;
    expect(sent({ table: name, do: "addChain", chain: { name: "output", base } })).toEqual(
      decode(chainMessage, bytesOf(hex)),
    );
  });

  test("table arp wg-cni: type filter hook input priority filter; policy accept;", () => {
    const hex = `
      03000000 ${table}
      0a000300696e707574000000
      0b00070066696c7465720000
      0800050000000001
      14000480 0800010000000000 0800020000000000`;
    expectBothWays(chainMessage, hex, { nfgen_family: 3, NFTA_CHAIN_NAME: "input" });
    const base = { type: "filter", hook: "input", priority: 0, policy: "accept" } as const;
    const arp = { family: "arp", name: "wg-cni" } as const;
    expect(sent({ table: arp, do: "addChain", chain: { name: "input", base } })).toEqual(
      decode(chainMessage, bytesOf(hex)),
    );
  });

  test("nft delete chain inet wg-cni output", () => {
    const hex = `01000000 ${table} 0b0003006f75747075740000`;
    expect(sent({ table: name, do: "deleteChain", chain: "output" })).toEqual(
      decode(chainMessage, bytesOf(hex)),
    );
  });

  test("set pods4_in { type ipv4_addr; flags interval; counter; }", () => {
    const hex = `
      01000000 ${table}
      0d000200706f6473345f696e00000000
      0800030000000004
      0800040000000007
      0800050000000004
      08000a0000000001
      14001180 0c000100636f756e74657200 04000280`;
    expectBothWays(setMessage, hex, {
      NFTA_SET_NAME: "pods4_in",
      NFTA_SET_FLAGS: 4,
      NFTA_SET_KEY_TYPE: 7,
      NFTA_SET_EXPR: { name: "counter", data: {} },
    });
    const set = { name: "pods4_in", family: 4, interval: true, counter: true } as const;
    const [ours] = commandRequests({ table: name, do: "addSet", set }, 1);
    const writer = new Writer();
    ours?.write(writer);
    expect(decode(setMessage, writer.written)).toEqual(decode(setMessage, bytesOf(hex)));
  });

  test("the beginning of nft -f", () => {
    expectBothWays(batchMessage, "0000000a", { res_id: 10 });
    expectBothWays(batchMessage, "0000000a 0800010000000006", { NFNL_BATCH_GENID: 6 });
  });

  test("nft list ruleset: the generation", () => {
    const answer = "00000006 0800010000000006 080002000000643c 080003006e667400";
    expect(decode(generationMessage, bytesOf(answer)).NFTA_GEN_ID).toBe(6);
  });

  test("nft flush chain inet wg-cni clamp", () => {
    const [ours] = commandRequests({ table: name, do: "flushChain", chain: "clamp" }, 1);
    const writer = new Writer();
    ours?.write(writer);
    expect(writer.written.toHex()).toBe(bytesOf(`01000000 ${table} 0a000200636c616d70000000`).toHex());
  });
});

/** The message for a command about a chain. */
function sent(command: NftCommand) {
  const writer = new Writer();
  for (const request of commandRequests(command, 1)) request.write(writer);
  return decode(chainMessage, writer.written);
}

describe.each(vectors)("$nft", ({ nft, sent, answered }) => {
  test("is read and written as nft sends it", () => {
    expectBothWays(ruleMessage, sent, { NFTA_RULE_TABLE: "wg-cni" });
  });

  test("what the kernel answers is this rule, and what we send means the same", () => {
    const rule = toNftRule(decode(ruleMessage, bytesOf(answered)).NFTA_RULE_EXPRESSIONS ?? []);
    expect(formatNftRule(rule)).toBe(nft);
    const ours = decode(expressionList, encode(expressionList, toExpressions(rule)));
    expect(toNftRule(ours)).toEqual(rule);
  });

  test("with anything else in it, it is no longer this rule", () => {
    const bytes = bytesOf(answered);
    // Behind the header and the names: names have spare bytes, and are compared elsewhere.
    const start = bytes.length - encode(expressionList, expressionsOf(bytes)).length;
    for (let at = Math.max(start, 40); at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at] = (changed[at] as number) ^ 0x40;
      const expressions = tryRead(changed);
      if (expressions === undefined || Bun.deepEquals(expressions, expressionsOf(bytes))) continue;
      expect(formatNftRule(toNftRule(expressions)) === nft && !saysTheSame(expressions, bytes)).toBe(false);
    }
  });
});

function expressionsOf(bytes: Uint8Array) {
  return decode(ruleMessage, bytes).NFTA_RULE_EXPRESSIONS ?? [];
}

function tryRead(bytes: Uint8Array) {
  try {
    return expressionsOf(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(DecodeError);
    return undefined;
  }
}

/** The change was to an attribute's number, which made it one that is 0 in the original, or unknown. */
function saysTheSame(expressions: ReturnType<typeof expressionsOf>, bytes: Uint8Array): boolean {
  const plain = (value: unknown) =>
    JSON.stringify(value, (key, item) =>
      item === 0 || key === "unknown" ? undefined : item instanceof Uint8Array ? item.toHex() : item,
    );
  return plain(expressions) === plain(expressionsOf(bytes));
}

test("an expression that we do not know is kept by name, and as it came", () => {
  // limit rate 5/second
  const hex =
    "34000180 0a0001006c696d6974000000 24000280 0c0001000000000000000005 0c0002000000000000000001 0800030000000005";
  const bytes = bytesOf(hex);
  const [limit] = decode(expressionList, bytes);
  expect(limit).toMatchObject({ name: "unknown", kernelName: "limit" });
  expect(toNftRule([limit as never])).toEqual([{ kind: "unknown", expression: "limit" }]);
});

describe("any bytes are a message that is written and read back the same, or a DecodeError", () => {
  const codecs = { tableMessage, chainMessage, ruleMessage, setMessage, batchMessage };
  test.each(Object.entries(codecs))("%s", (_name, codec) => {
    const below = random(5);
    let values = 0;
    for (let i = 0; i < 3000; i++) {
      const bytes = below(2) === 0 ? damaged(below) : plausible(below);
      try {
        const value = decode(codec as typeof ruleMessage, bytes);
        values++;
        const again = decode(codec as typeof ruleMessage, encode(codec as typeof ruleMessage, value));
        expect(decode(codec as typeof ruleMessage, encode(codec as typeof ruleMessage, again))).toEqual(
          again,
        );
        toNftRule(value.NFTA_RULE_EXPRESSIONS ?? []);
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }
    expect(values).toBeGreaterThan(100);
  });
});

/** A rule of the vectors with some bytes changed, so that most of it is still plausible. */
function damaged(below: (n: number) => number): Uint8Array {
  const bytes = bytesOf(vectors[below(vectors.length)]?.answered ?? "");
  for (let count = below(4); count > 0; count--) bytes[below(bytes.length)] = below(256);
  return bytes;
}

/** Bytes that are nearly a message: a header, attributes of plausible length, nests within. */
function plausible(below: (n: number) => number): Uint8Array {
  const writer = new Writer();
  writer.unsigned(below(256), 4);
  const attributes = (depth: number) => {
    for (let count = below(5); count > 0; count--) {
      const start = writer.beginAttribute(below(20) | (below(2) === 0 ? 0x8000 : 0));
      if (depth > 0 && below(3) === 0) attributes(depth - 1);
      else writer.raw(new Uint8Array([0, 4, 4, 4, 4, 8, 12][below(7)] as number).fill(below(256)));
      writer.endAttribute(start);
    }
  };
  attributes(3);
  return writer.written.slice();
}

describe("numbers in network order", () => {
  test.each([
    [u16Be, 0x0102, "0102"],
    [u32Be, 0xfffefdfc, "fffefdfc"],
    [s32Be, -300, "fffffed4"],
    [u64Be, 2 ** 40 + 5, "0000010000000005"],
  ] as const)("%#", (codec, value, hex) => {
    expect(encode(codec, value).toHex()).toBe(hex);
    expect(decode(codec, bytesOf(hex))).toBe(value);
    expect(() => decode(codec, bytesOf(`${hex}00`))).toThrow(DecodeError);
  });

  test("are refused if they do not fit", () => {
    for (const value of [-1, 2 ** 32]) expect(() => encode(u32Be, value)).toThrow(RangeError);
    expect(() => encode(u16Be, 65_536)).toThrow(RangeError);
  });
});
