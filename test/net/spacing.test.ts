import { expect, test } from "bun:test";
import { Spacing } from "../../src/net/spacing.ts";

test("take lets the first one pass, and each further one after the spacing since the last that passed", () => {
  const spacing = new Spacing(100);
  expect([0, 1, 99, 100, 150, 200, 1000].map((nowMs) => spacing.take(nowMs))).toEqual([
    0, 99, 1, 0, 50, 0, 0,
  ]);
});
