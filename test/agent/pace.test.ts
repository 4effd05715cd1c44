import { expect, test } from "bun:test";
import { spacingAfter } from "../../src/agent/pace.ts";

test.each([
  ["without peers", 0, 250],
  ["that is short", 80, 250],
  ["at thousands of peers: a third of the time", 300, 900],
  ["under emulation", 10_000, 2000],
])("after a look %s", (_what, costMs, spacingMs) => {
  expect(spacingAfter(costMs)).toBe(spacingMs);
});
