// A device that takes packets and sends nothing, reading by reading.
import { describe, expect, test } from "bun:test";
import { isStalled, type Stall, updateStall } from "../../../src/plan/peers/stall.ts";

/** At 0, 10, 20 s and so on. */
type Reading = readonly [packets: number, sentBytes: number];

const steady = (from: number, count: number, sentBytes: number): Reading[] =>
  Array.from({ length: count }, (_, index) => [from + index, sentBytes]);

const cases: Readonly<Record<string, readonly [readonly Reading[], boolean]>> = {
  "nothing enters": [Array.from({ length: 9 }, () => [5, 100]), false],
  "what enters is sent": [Array.from({ length: 9 }, (_, index) => [index, index]), false],
  "packets keep entering, and nothing is sent": [steady(5, 6, 100), true],
  "packets have entered for less than 30 s": [steady(5, 4, 100), false],
  "packets entered some time ago, and none since": [
    [...steady(5, 3, 100), [7, 100], [7, 100], [7, 100]],
    false,
  ],
  "something is sent again": [[...steady(5, 6, 100), [11, 101]], false],
  "a peer was added anew, so that the sum is smaller": [[...steady(5, 3, 100), ...steady(8, 3, 40)], true],
  "the device was made anew": [[...steady(5, 3, 100), ...steady(0, 3, 0)], false],
};

describe("isStalled, if", () => {
  test.each(Object.entries(cases))("%s", (_, [readings, expected]) => {
    let stall: Stall | undefined;
    for (const [index, [packets, sentBytes]] of readings.entries())
      stall = updateStall(stall, { packets, sentBytes }, index * 10_000);
    expect(isStalled(stall, (readings.length - 1) * 10_000)).toBe(expected);
  });
});

test("isStalled gives a peer the time for an answer, from the stall on or from a later time", () => {
  const stall = { packets: 7, sentBytes: 100, sinceMs: 10_000 };
  expect(isStalled(stall, 40_000)).toBe(false);
  expect(isStalled(stall, 40_001)).toBe(true);
  expect(isStalled(stall, 40_001, 20_000)).toBe(false);
});
