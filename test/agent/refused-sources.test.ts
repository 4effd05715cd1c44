// How long a source that no peer takes is remembered, when the kernel forgets it after a minute.
import { expect, test } from "bun:test";
import { RefusedSources } from "../../src/agent/refused-sources.ts";

const refused = (sources: Readonly<Record<string, number>>, peers: readonly string[] = []) => ({
  ...{ sources: new Map(Object.entries(sources)), peers },
});

test("a source counts from its last packet on, also from the first reading", () => {
  const watched = new RefusedSources();
  watched.observe(refused({ a: 3, b: 1 }), 1000);
  watched.observe(refused({ a: 3, b: 2 }), 2000);
  expect([watched.since(1000), watched.since(1500), watched.since(2500)]).toEqual([["a", "b"], ["b"], []]);
});

test("a source outlives its element, and an element that was made anew is a packet", () => {
  const watched = new RefusedSources();
  watched.observe(refused({ a: 1 }), 1000);
  watched.observe(refused({}), 2000);
  expect(watched.since(500)).toEqual(["a"]);
  watched.observe(refused({ a: 1 }), 3000);
  expect(watched.since(2500)).toEqual(["a"]);
});

test("a source is one problem while packets come, whatever their number is", () => {
  const watched = new RefusedSources();
  const messages = () => [...watched.problems(false)].map(([source, { fields }]) => [source, fields]);
  watched.observe(refused({ a: 1 }, ["n2"]), 1000);
  const first = messages();
  watched.observe(refused({ a: 9 }, ["n2"]), 2000);
  expect([first, messages()]).toEqual([[["a", { source: "a" }]], [["a", { source: "a" }]]]);
  watched.observe(refused({}), 3000);
  expect(messages()).toEqual([]);
});
