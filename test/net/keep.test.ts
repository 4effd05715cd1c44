import { expect, test } from "bun:test";
import { keepEqual, keepEqualItems, keepFor, keepLast, keepLastList } from "../../src/net/keep.ts";

test("keepFor computes once for each argument", () => {
  const asked: string[] = [];
  const upper = keepFor(({ text }: { text: string }) => {
    asked.push(text);
    return text === "" ? undefined : text.toUpperCase();
  });
  const [a, b, empty] = [{ text: "a" }, { text: "b" }, { text: "" }];
  expect([a, b, a, empty, empty, { text: "a" }].map(upper)).toEqual([
    "A",
    "B",
    "A",
    undefined,
    undefined,
    "A",
  ]);
  expect(asked).toEqual(["a", "b", "", "a"]);
});

test("keepLast computes anew if one argument is another", () => {
  let count = 0;
  const join = keepLast(
    (list: readonly string[], separator: string) => `${++count}: ${list.join(separator)}`,
  );
  const list = ["a", "b"];
  expect(join(list, "-")).toBe("1: a-b");
  expect(join(list, "-")).toBe("1: a-b");
  expect(join(list, "+")).toBe("2: a+b");
  expect(join([...list], "+")).toBe("3: a+b");
});

test("keepLastList returns the same list only for the same items in the same order", () => {
  const keep = keepLastList<string>();
  const first = keep(["a", "b"]);
  expect(keep(["a", "b"])).toBe(first);
  for (const other of [["b", "a"], ["a"], ["a", "b", "c"], []]) {
    expect(keep(other)).toEqual(other);
    expect(keep(["a", "b"])).not.toBe(first);
  }
});

test("keepEqual returns the last map, or the new one with the values that are equal", () => {
  const last = new Map([
    ["a", { list: [1] }],
    ["b", { list: [2] }],
  ]);
  expect(keepEqual(structuredClone(last), last)).toBe(last);
  const changed = keepEqual(
    new Map([
      ["a", { list: [1] }],
      ["b", { list: [3] }],
    ]),
    last,
  );
  expect([...changed]).toEqual([
    ["a", { list: [1] }],
    ["b", { list: [3] }],
  ]);
  expect(changed.get("a")).toBe(last.get("a") as { list: number[] });
  expect([...keepEqual(new Map([["b", { list: [2] }]]), last).keys()]).toEqual(["b"]);
});

test("keepEqualItems returns the last list, or the new one with the items that are equal", () => {
  const make = (name: string) => ({ name, list: [1] });
  const [a, b, c] = [make("a"), make("b"), make("c")];
  const last = [a, b, c];
  expect(keepEqualItems(structuredClone(last), last)).toBe(last);
  const changed = keepEqualItems([{ name: "a", list: [2] }, structuredClone(b), make("bb"), c], last);
  expect(changed.map((item) => last.indexOf(item))).toEqual([-1, 1, -1, 2]);
  expect(keepEqualItems([structuredClone(c)], last)).toEqual([c]);
  expect(keepEqualItems([structuredClone(c)], last)[0]).toBe(c);
  expect(keepEqualItems([], last)).toEqual([]);
});
