// The arithmetic of streams: what is missing between the numbers that arrived.

import { describe, expect, test } from "bun:test";
import { Arrivals, lostRanges } from "./arrivals.ts";

/** Packets were sent a millisecond apart. */
const startMs = 5000;

function lost(arrived: readonly number[], count: number) {
  const arrivals = new Arrivals();
  for (const number of arrived) arrivals.note(number, startMs + number, startMs + number);
  const sent = { count, firstMs: startMs, lastMs: startMs + count - 1 };
  const ranges = lostRanges(arrivals.runs(), sent).map(({ first, last, fromMs, toMs }) => [
    first,
    last,
    fromMs - startMs,
    toMs - startMs,
  ]);
  return { received: arrivals.received, duplicates: arrivals.duplicates, ranges };
}

describe("what a stream lost", () => {
  const cases: Record<string, [arrived: number[], count: number, ranges: number[][]]> = {
    nothing: [[0, 1, 2], 3, []],
    everything: [[], 3, [[0, 2, 0, 2]]],
    "the first": [[2, 3], 4, [[0, 1, 0, 2]]],
    "the last": [[0, 1], 4, [[2, 3, 1, 3]]],
    "in the middle, twice": [
      [0, 3, 4, 6],
      7,
      [
        [1, 2, 0, 3],
        [5, 5, 4, 6],
      ],
    ],
    "nothing, out of order": [[2, 0, 1], 3, []],
  };
  test.each(Object.entries(cases))("%s", (_, [arrived, count, ranges]) => {
    expect(lost(arrived, count)).toEqual({ received: arrived.length, duplicates: 0, ranges });
  });

  test("a packet that arrives twice is received once", () => {
    expect(lost([0, 1, 1, 0, 1], 3)).toEqual({ received: 2, duplicates: 3, ranges: [[2, 2, 1, 2]] });
  });

  test("a million packets have room", () => {
    const arrivals = new Arrivals();
    for (let number = 0; number < 1_000_000; number += 2) arrivals.note(number, number, number);
    expect(arrivals.runs().length).toBe(500_000);
  });
});
