// The texts by themselves: whatever JSON a network is made of and however it is
// laid out, our entry goes in behind the plugins, and out to the byte.
import { expect, test } from "bun:test";
import { chain, isListOfAnySingle, isListOfSingle, listOfSingle, unchain } from "../../src/install/chain.ts";
import { parseConfList } from "../../src/install/conflist.ts";
import { elementsOf, findMember, rootOf, slice } from "../../src/install/json-text.ts";
import { makeRandom } from "../plan/random.ts";

const rounds = 3000;
const seed = Number(process.env["WG_CNI_TEST_SEED"] ?? 4711);

/** Random JSON with random whitespace, as one text. */
function makeWriter(random: () => number) {
  const pick = <T>(items: readonly T[]) => items[Math.floor(random() * items.length)] as T;
  const gap = () => (random() < 0.4 ? pick([" ", "\n", "\r\n", "\t", "  \n    "]) : "");
  const strings = [
    '""',
    '"ptp"',
    '"]}"',
    '"{[,:"',
    '"\\"\\\\"',
    '"\\u0022"',
    '"plugins"',
    '"\xc3\xbc\xff"',
    '"name"',
  ];
  const scalars = [...strings, "0", "-1.5e300", "18446744073709551615", "true", "false", "null"];
  const list = (open: string, items: readonly string[], close: string) =>
    `${open}${gap()}${items.map((item) => `${item}${gap()}`).join(`,${gap()}`)}${close}`;
  const member = (key: string, value: string) => `${key}${gap()}:${gap()}${value}`;
  const value = (depth: number): string => {
    const kind = depth === 0 ? 0 : random();
    if (kind < 0.5) return pick(scalars);
    const items = Array.from({ length: Math.floor(random() * 4) }, () => value(depth - 1));
    if (kind < 0.75) return list("[", items, "]");
    return list(
      "{",
      items.map((item) => member(pick(strings), item)),
      "}",
    );
  };
  const junk = () => Array.from({ length: Math.floor(random() * 3) }, (_, i) => member(`"x${i}"`, value(3)));
  const object = (...members: readonly string[]) => list("{", [...junk(), ...members, ...junk()], "}");
  const plugin = () => object(member('"type"', pick(['"ptp"', '"portmap"', '"wg-cni-2"'])));
  return {
    list: (): string => {
      const plugins = list("[", Array.from({ length: 1 + Math.floor(random() * 4) }, plugin), "]");
      return `${gap()}${object(member('"name"', '"pods"'), member('"plugins"', plugins))}${gap()}`;
    },
    single: (): string => `${gap()}${object(member('"name"', '"pods"'), member('"type"', '"ptp"'))}${gap()}`,
  };
}

test(`${rounds} lists of any layout: in, again, and out (seed ${seed})`, () => {
  const write = makeWriter(makeRandom(seed));
  for (let i = 0; i < rounds; i++) {
    const text = write.list();
    const network = parseConfList("x.conflist", text);
    const chained = chain(text, network, { type: "wg-cni", mtu: 1400 });
    const after = parseConfList("x.conflist", chained);
    expect(after.plugins).toEqual([...network.plugins, { type: "wg-cni", mtu: 1400 }]);
    expect(chain(chained, after, undefined)).toBe(chained);
    expect(unchain(chained, after.plugins)).toBe(text);
    // Of another entry instead, and that again.
    const other = chain(chained, after, { type: "wg-cni" });
    expect(unchain(other, parseConfList("x.conflist", other).plugins)).toBe(text);
  }
});

test(`${rounds} single plugins become lists that are known for what they are`, () => {
  const write = makeWriter(makeRandom(seed + 1));
  for (let i = 0; i < rounds; i++) {
    const text = write.single();
    const list = listOfSingle(text, { type: "wg-cni" });
    expect(parseConfList("x.conflist", list).plugins).toEqual([JSON.parse(text), { type: "wg-cni" }]);
    expect([isListOfSingle(list, text), isListOfAnySingle(list)]).toEqual([true, true]);
    expect(isListOfSingle(list, text.replace('"pods"', '"other"'))).toBe(false);
    expect(isListOfSingle(`${list} `, text)).toBe(false);
  }
});

test("parts of a text are found where the parser has them", () => {
  const text = ' {"a" : [1, [2,3] ,{"b":"]"}, "x\\"y"] , "a":[ ], "c":{}}\n';
  const root = rootOf(text);
  expect(slice(text, root)).toBe(text.trim());
  expect(findMember(text, root, "z")).toBeUndefined();
  expect(slice(text, findMember(text, root, "c")!)).toBe("{}");
  expect(elementsOf(text, findMember(text, root, "a")!)).toEqual([]);
  const first = { start: text.indexOf("["), end: text.indexOf('] , "a"') + 1 };
  expect(elementsOf(text, first).map((span) => slice(text, span))).toEqual([
    "1",
    "[2,3]",
    '{"b":"]"}',
    '"x\\"y"',
  ]);
});
