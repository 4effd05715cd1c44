// The trimmer collects garbage by resident memory, which is an argument here.
import { expect, test } from "bun:test";
import { HeapTrimmer } from "../../src/agent/heap-trimmer.ts";

const megabyte = 1024 ** 2;

/** Calls trim() with each number of resident megabytes; returns the numbers at which it collected. A collection gives back two of them. */
function collectionsAt(...resident: readonly number[]): number[] {
  let now = resident[0] as number;
  const collected: number[] = [];
  const trimmer = new HeapTrimmer(
    () => now * megabyte,
    () => {
      collected.push(now);
      now -= 2;
    },
  );
  for (const megabytes of resident) {
    now = megabytes;
    trimmer.trim();
  }
  return collected;
}

test.each([
  ["little comes", [100, 101, 103], []],
  ["much comes at once", [100, 104], [104]],
  ["much comes little by little", [100, 102, 104, 105], [104]],
  ["memory that was freed is given back in a pause, and comes again", [100, 110, 100, 105], [110, 105]],
  ["what a collection has left is not collected again", [100, 110, 109, 111], [110]],
])("%s", (_, resident, expected) => {
  expect(collectionsAt(...resident)).toEqual(expected);
});
