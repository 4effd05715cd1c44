// The trimmer collects garbage by resident memory and by time, which are arguments here.
import { describe, expect, test } from "bun:test";
import { HeapTrimmer } from "../../src/agent/heap-trimmer.ts";

const megabyte = 1024 ** 2;

/** Seconds and resident megabytes at a call. */
type Call = readonly [seconds: number, megabytes: number];

/** Returns what was collected, and at how many megabytes. A collection of the whole heap gives back two of them. */
function collections(turn: "trim" | "trimWhole", ...calls: readonly Call[]): string[] {
  let [seconds, resident] = calls[0] as Call;
  const collected: string[] = [];
  const trimmer = new HeapTrimmer(() => seconds * 1000, {
    residentBytes: () => resident * megabyte,
    collectYoung: () => collected.push(`young ${resident}`),
    collectWhole: () => {
      collected.push(`whole ${resident}`);
      resident -= 2;
    },
  });
  for (const [atSeconds, megabytes] of calls) {
    [seconds, resident] = [atSeconds, megabytes];
    trimmer[turn]();
  }
  return collected;
}

describe("at the end of a pass", () => {
  test.each<[string, Call[], string[]]>([
    [
      "little comes",
      [
        [0, 100],
        [1, 101],
        [9, 103],
      ],
      [],
    ],
    [
      "much comes at once",
      [
        [0, 100],
        [1, 104],
      ],
      ["young 104"],
    ],
    [
      "very much comes at once",
      [
        [0, 100],
        [1, 124],
      ],
      ["whole 124"],
    ],
    [
      "much comes little by little",
      [
        [0, 100],
        [1, 102],
        [2, 104],
        [3, 103],
      ],
      ["young 104"],
    ],
    [
      "young collections leave too much",
      [
        [0, 100],
        [1, 110],
        [2, 120],
        [3, 124],
      ],
      ["young 110", "young 120", "whole 124"],
    ],
    [
      "the last whole collection is long ago",
      [
        [0, 100],
        [1, 110],
        [5, 110],
      ],
      ["young 110", "whole 110"],
    ],
    [
      "memory that was freed is given back in a pause, and comes again",
      [
        [0, 100],
        [5, 110],
        [9, 100],
        [11, 105],
      ],
      ["whole 110", "whole 105"],
    ],
    [
      "what a whole collection has left is not collected again",
      [
        [0, 100],
        [5, 110],
        [11, 109],
        [12, 111],
      ],
      ["whole 110"],
    ],
  ])("%s", (_, calls, expected) => {
    expect(collections("trimWhole", ...calls)).toEqual(expected);
  });
});

test("within a pass the whole heap is collected only if much more has come than is kept", () => {
  const calls: Call[] = [
    [0, 100],
    [9, 103],
    [10, 124],
    [20, 155],
    [21, 156],
    [22, 157],
  ];
  expect(collections("trim", ...calls)).toEqual(["young 124", "young 155", "whole 156"]);
});
