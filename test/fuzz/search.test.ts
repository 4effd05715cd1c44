// The search itself: it finds planted faults, repeats them from the seed, and makes them small.
import { expect, test } from "bun:test";
import { DecodeError } from "../../src/wire/error.ts";
import { minimize } from "./minimize.ts";
import { faultOf, Search } from "./search.ts";
import { LawBroken, type Target } from "./target.ts";

/** A reader with a fault behind three checks, each with a sentence of its own. */
const planted: Target = {
  name: "planted",
  form: "json",
  refusals: ["DecodeError"],
  run(input) {
    const { a } = parse(input) as { a?: unknown };
    if (a === undefined) throw new DecodeError("it has no a");
    if (!Array.isArray(a)) throw new DecodeError("a is no list");
    if (a.length < 2) throw new DecodeError("a is short");
    if (a.includes(null)) throw new TypeError("null is no item");
    return a;
  },
};

function parse(input: Uint8Array): object {
  try {
    return Object(JSON.parse(new TextDecoder().decode(input)));
  } catch {
    throw new DecodeError("it is not JSON");
  }
}

function searchFor(target: Target, seed: number): Search {
  const search = new Search(target, [new TextEncoder().encode('{"a":1}')], seed);
  while (search.executions < 20_000 && search.findings.size === 0) search.step();
  return search;
}

test("a search finds a fault behind several checks, and the same seed finds it again", () => {
  const [first] = searchFor(planted, 1).findings.values();
  const [second] = searchFor(planted, 1).findings.values();
  expect(first?.what).toStartWith("TypeError null is no item");
  expect(second).toEqual(first!);
});

test("an input is made smaller while it causes the same fault", () => {
  const input = new TextEncoder().encode(`{"x":${JSON.stringify("y".repeat(500))},"a":[1,2,null,[]]}`);
  const what = faultOf(planted, input);
  const smallest = minimize(input, (smaller) => faultOf(planted, smaller) === what);
  expect(faultOf(planted, smallest)).toBe(what!);
  expect(smallest.length).toBeLessThan(30);
});

test("a broken law is a fault, also if the class of its error is one of the refusals of others", () => {
  const broken: Target = {
    ...planted,
    run: () => {
      throw new LawBroken("never");
    },
  };
  expect([...searchFor(broken, 1).findings.values()].map(({ execution }) => execution)).toEqual([1]);
});

test("an input that takes long is a fault", () => {
  const compute = () => {
    for (const end = performance.now() + 2000; performance.now() < end; );
  };
  const slow: Target = { ...planted, run: compute };
  expect(faultOf(slow, new Uint8Array(0))).toStartWith("takes more than");
  expect(faultOf({ ...planted, run: () => Bun.sleepSync(300) }, new Uint8Array(0))).toBeUndefined();
});
