// What counts as left behind by a soak run.
import { expect, test } from "bun:test";
import { findLeaks, maxGrowthBytes, type Rest } from "./leaks.ts";

const before: Rest = {
  lines: ["link eth0", "route 10.244.1.0/24"],
  descriptors: { socket: 5, "anon_inode:[eventpoll]": 2 },
  residentBytes: 60e6,
};

test("findLeaks finds nothing in what is as before, or less, or a file that is open once", () => {
  expect(findLeaks("n1", before, before)).toEqual([]);
  const descriptors = { socket: 4, "/var/lib/wg-cni/calls.log": 1 };
  const after = { ...before, descriptors, residentBytes: before.residentBytes + maxGrowthBytes };
  expect(findLeaks("n1", before, after)).toEqual([]);
});

test.each([
  ["a line more", { lines: [...before.lines, "link veth7"] }],
  ["a line that has gone", { lines: ["link eth0"] }],
  ["a socket more", { descriptors: { socket: 6 } }],
  ["a kind of descriptor more", { descriptors: { pipe: 1 } }],
  ["a file that is open twice", { descriptors: { "/var/lib/wg-cni/calls.log": 2 } }],
  ["a heap that has grown", { residentBytes: before.residentBytes + maxGrowthBytes + 1 }],
] as const)("findLeaks finds %s", (_, change) => {
  expect(findLeaks("n1", before, { ...before, ...change })).toHaveLength(1);
});
