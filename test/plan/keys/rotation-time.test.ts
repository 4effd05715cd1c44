// When keys are due: spread over the nodes, the same in every pass, and with a
// clock that is set by days at most one rotation early or late.
import { expect, test } from "bun:test";
import { chooseRotationTime } from "../../../src/plan/keys/rotation-time.ts";

const hour = 3_600_000;
const day = 24 * hour;
const start = 1_700_000_000_000;
const keys = (...at: number[]) => at.map((createdAtMs) => ({ createdAtMs }));

test("a period after the older key, ten per cent earlier or later", () => {
  const dues = Array.from({ length: 500 }, (_, i) =>
    chooseRotationTime(`node-${i}`, keys(start, start + hour), 86_400, start),
  );
  const shares = dues.map((due) => (due - start) / day);
  expect(Math.min(...shares)).toBeGreaterThanOrEqual(0.9);
  expect(Math.max(...shares)).toBeLessThanOrEqual(1.1);
  // Nodes brought up at one moment do not rotate together: every tenth of the span has its share.
  for (let tenth = 0; tenth < 10; tenth++) {
    const low = 0.9 + tenth * 0.02;
    const there = shares.filter((share) => share >= low && share < low + 0.02).length;
    expect(there).toBeWithin(25, 80);
  }
});

test("the same in every pass, another after every rotation", () => {
  const due = (made: number, now: number) => chooseRotationTime("n1", keys(made), 86_400, now);
  expect(due(start, start + hour)).toBe(due(start, start));
  expect(due(start, start) - start).not.toBe(due(start + day, start) - (start + day));
});

test("nodes brought up a millisecond apart differ too", () => {
  const offsets = new Set(
    Array.from({ length: 50 }, (_, i) =>
      Math.round((chooseRotationTime("n1", keys(start + i), 86_400, start) - start - i) / hour),
    ),
  );
  expect(offsets.size).toBeGreaterThan(3);
});

/** Runs a node's clock for `days`, looking every minute; `offset` is what the clock shows beside the truth. */
function rotationsOf(days: number, offset: (trueMs: number) => number): number[] {
  let made = keys(start + offset(start), start + offset(start));
  const rotatedAt: number[] = [];
  for (let now = start; now < start + days * day; now += 60_000) {
    const wall = now + offset(now);
    if (chooseRotationTime("n1", made, 86_400, wall) > wall) continue;
    rotatedAt.push((now - start) / day);
    made = keys(wall, wall + 20_000);
  }
  return rotatedAt;
}

const step = (atDay: number, byDays: number) => (now: number) =>
  now - start >= atDay * day ? byDays * day : 0;

test.each<[string, (now: number) => number, fewest: number, most: number]>([
  ["runs as it should", () => 0, 9, 11],
  ["is set a day forward", step(4.5, 1), 9, 12],
  ["is set a day back", step(4.5, -1), 8, 11],
  ["is set a year forward", step(4.5, 365), 9, 12],
  ["is set a year back", step(4.5, -365), 9, 12],
  ["is years late at boot, then right", (now) => (now - start < hour ? -20_000 * day : 0), 9, 12],
  ["is years early at boot, then right", (now) => (now - start < hour ? 20_000 * day : 0), 9, 12],
  ["is set forward and back again", (now) => step(4.2, 1)(now) + step(4.8, -1)(now), 9, 13],
  ["wavers by seconds", (now) => (now % 120_000 === 0 ? 5000 : 0), 9, 11],
])("in ten days a clock that %s gives as many rotations, never a loop", (_, offset, fewest, most) => {
  const at = rotationsOf(10.5, offset);
  expect(at.length).toBeWithin(fewest, most + 1);
  // Two at once, where the clock was set, are the most there can be.
  for (let i = 2; i < at.length; i++) expect((at[i] as number) - (at[i - 2] as number)).toBeGreaterThan(0.5);
  // And it is never forgotten: two periods and some at the longest.
  for (let i = 1; i < at.length; i++) expect((at[i] as number) - (at[i - 1] as number)).toBeLessThan(2.2);
});
