// Pod addresses as the fewest CIDRs. The witness is arithmetic on sets of numbers
// that knows nothing of bits: which aligned blocks of a power of two are full.
import { expect, test } from "bun:test";
import { aggregateIps } from "../../src/kube/aggregate.ts";
import { formatIp, ipBytes } from "../../src/net/ip.ts";
import { makeRandom } from "../plan/random.ts";

test.each([
  [[], []],
  [["10.0.0.1"], ["10.0.0.1/32"]],
  [["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"], ["10.0.0.4/30"]],
  // Neighbours that are no halves of one prefix.
  [
    ["10.0.0.1", "10.0.0.2"],
    ["10.0.0.1/32", "10.0.0.2/32"],
  ],
  [
    ["10.0.0.7", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.8", "10.0.0.4"],
    ["10.0.0.4/30", "10.0.0.8/32"],
  ],
  [["255.255.255.255", "255.255.255.254"], ["255.255.255.254/31"]],
  [
    ["fd00::1", "10.0.0.1", "fd00::", "10.0.0.0"],
    ["10.0.0.0/31", "fd00::/127"],
  ],
] as const)("%j -> %j", (ips, cidrs) => {
  expect(aggregateIps(ips)).toEqual([...cidrs]);
});

/** Blocks [start, start + size) that together are the set: at each address the largest aligned one that is full. */
function fewestBlocks(numbers: ReadonlySet<number>): [start: number, size: number][] {
  const left = [...numbers].sort((a, b) => a - b);
  const blocks: [number, number][] = [];
  for (let i = 0; i < left.length; ) {
    const start = left[i]!;
    let size = 1;
    const isFull = (n: number) =>
      Array.from({ length: n }, (_, k) => start + k).every((one) => numbers.has(one));
    while (start % (2 * size) === 0 && isFull(2 * size)) size *= 2;
    blocks.push([start, size]);
    i += size;
  }
  return blocks;
}

test.each([4, 16] as const)(
  "any set of addresses of %d bytes is covered exactly, by the fewest CIDRs",
  (bytes) => {
    for (let seed = 0; seed < 300; seed++) {
      const random = makeRandom(seed);
      const density = random();
      const numbers = new Set(Array.from({ length: 128 }, (_, n) => n).filter(() => random() < density));
      const base = ipBytes(bytes === 4 ? "10.20.30.128" : "fd00:10::80");
      const ipOf = (n: number) => formatIp(base.with(base.length - 1, base.at(-1)! + n));
      const shuffled = [...numbers].sort(() => random() - 0.5).map(ipOf);
      const expected = fewestBlocks(numbers).map(
        ([start, size]) => `${ipOf(start)}/${8 * bytes - Math.log2(size)}`,
      );
      expect({ seed, cidrs: aggregateIps(shuffled) }).toEqual({ seed, cidrs: expected });
    }
  },
);
