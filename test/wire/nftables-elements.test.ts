// Elements of sets as nft(8) sends them and the kernel answers, captured as
// nftables-vectors.ts says, and how intervals become prefixes again.
import { describe, expect, test } from "bun:test";
import { eachElement, toSetElements } from "../../src/netlink/nft/elements.ts";
import { DecodeError } from "../../src/wire/error.ts";
import { elementsMessage } from "../../src/wire/nftables.ts";
import { type SetElement, setElements } from "../../src/wire/nftables-elements.ts";
import { bytesOf, decode, encode } from "./bytes.ts";
import { random } from "./random.ts";

const table = "0b00010077672d636e690000";

describe("elements", () => {
  const set = { name: "pods4_in", family: 4, interval: true, counter: true } as const;

  // nft add element inet wg-cni pods4_in { 10.2.0.0/24, 10.2.1.0/24, 10.9.0.7 }
  const sent = `
    01000000 ${table}
    0d000200706f6473345f696e00000000
    94000380
      18000180 0800030000000001 0c000180 0800010000000000
      10000280                  0c000180 080001000a020000
      18000380 0800030000000001 0c000180 080001000a020100
      10000480                  0c000180 080001000a020100
      18000580 0800030000000001 0c000180 080001000a020200
      10000680                  0c000180 080001000a090007
      18000780 0800030000000001 0c000180 080001000a090008`;

  test("nft add element inet wg-cni pods4_in { 10.2.0.0/24, 10.2.1.0/24, 10.9.0.7 }", () => {
    const theirs = decode(elementsMessage, bytesOf(sent)).NFTA_SET_ELEM_LIST_ELEMENTS ?? [];
    const ours = ["10.2.0.0/24", "10.2.1.0/24", "10.9.0.7/32"].flatMap((prefix) =>
      toSetElements(set, prefix),
    );
    // All but the end of nothing, at 0.0.0.0, that nft puts in front.
    const plain = ({ key, flags }: SetElement) => [key.toHex(), flags];
    expect(ours.map(plain)).toEqual(theirs.slice(1).map(plain));
    expect(encode(setElements, ours).length).toBe(3 * (0x10 + 0x18));
  });

  test("nft list set inet wg-cni pods4_in: descending, with counters", () => {
    const counter = (packets: string, bytes: string) => `
      2c000700 0c000100636f756e74657200
      1c000200 0c000100${bytes} 0c000200${packets}`;
    const answer = `
      0100000e ${table}
      0d000200706f6473345f696e00000000
      c4000300
        18000100 0c000100 080001000a090008 0800030000000001
        3c000100 0c000100 080001000a090007 ${counter("0000000000000003", "00000000000000fc")}
        18000100 0c000100 080001000a020100 0800030000000001
        3c000100 0c000100 080001000a020000 ${counter("0000000100000000", "0000000000000000")}
        18000100 0c000100 0800010000000000 0800030000000001`;
    const elements = decode(elementsMessage, bytesOf(answer)).NFTA_SET_ELEM_LIST_ELEMENTS ?? [];
    expect(listed(set, elements)).toEqual([
      ["10.2.0.0/24", { packets: 2 ** 32, bytes: 0 }],
      ["10.9.0.7/32", { packets: 3, bytes: 252 }],
    ]);
  });

  test.each([
    ["the last address of all has no end", 4, ["255.255.255.255/32"]],
    ["everything", 4, ["0.0.0.0/0"]],
    ["halves of everything", 6, ["::/1", "8000::/1"]],
    ["a range that is no prefix", 4, ["10.0.0.1-10.0.0.6", "10.0.0.7/32"]],
    ["the element for the rest", 4, ["10.0.0.0/8", "*"]],
  ] as const)("%s", (_name, family, texts) => {
    const declaration = { ...set, family };
    const elements = texts.flatMap((text) => toSetElements(declaration, text));
    const read = listed(declaration, decode(setElements, encode(setElements, elements)));
    expect(read.map(([text]) => text).sort()).toEqual([...texts].sort());
  });

  test("any prefixes that do not overlap are read as they were written, in whatever order they come", () => {
    const below = random(3);
    for (let round = 0; round < 200; round++) {
      const family = below(2) === 0 ? 4 : 6;
      const declaration = { ...set, family } as const;
      const prefixes = disjoint(below, family);
      const elements = shuffled(below, prefixes).flatMap((prefix) => toSetElements(declaration, prefix));
      const sent = decode(setElements, encode(setElements, elements));
      const order = [sent, [...sent].reverse(), shuffled(below, sent)][below(3)] as SetElement[];
      expect(listed(declaration, order).map(([text]) => text)).toEqual(prefixes);
    }
  });

  test("any bytes give elements or a DecodeError", () => {
    const below = random(4);
    for (let i = 0; i < 5000; i++) {
      const bytes = Uint8Array.from({ length: below(60) }, () => below(below(4) === 0 ? 256 : 24));
      try {
        const elements = decode(setElements, bytes);
        const again = decode(setElements, encode(setElements, elements));
        // Counters are only read, and an empty key is written as none.
        expect(again.map(({ key, flags }) => [key, flags])).toEqual(
          elements.map(({ key, flags }) => [key, flags]),
        );
      } catch (error) {
        expect(error).toBeInstanceOf(DecodeError);
      }
    }
  });
});

function listed(set: Parameters<typeof eachElement>[0], elements: readonly SetElement[]) {
  const found: [string, unknown][] = [];
  eachElement(set, elements, (element, counter) => found.push([element, counter]));
  return found;
}

/** Ascending; about every second one touches the next. */
function disjoint(below: (n: number) => number, family: 4 | 6): string[] {
  const prefixes: string[] = [];
  for (let block = 0; block < 40; block++) {
    if (below(2) === 0) continue;
    if (family === 6) prefixes.push(`fd00:0:0:${(block + 1).toString(16)}::/64`);
    else if (below(2) === 0) prefixes.push(`10.0.${block}.0/24`);
    else prefixes.push(`10.0.${block}.0/25`, `10.0.${block}.128/26`, `10.0.${block}.255/32`);
  }
  return prefixes;
}

function shuffled<T>(below: (n: number) => number, items: readonly T[]): T[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
  }
  return copy;
}
