// How long the pauses between failing attempts are, and what shortens them.
import { describe, expect, test } from "bun:test";
import { Backoff, pauseAfter } from "../../src/net/backoff.ts";
import { makeRandom } from "../plan/random.ts";

const bounds = { firstMs: 1000, longestMs: 30_000 };

/** The pauses of so many failures in a row. */
function pauses(random: number, count: number): number[] {
  const backoff = new Backoff(bounds, () => random);
  return Array.from({ length: count }, () => backoff.fail(0));
}

test("pauseAfter doubles the pause up to the longest", () => {
  const whole = [0, 1, 2, 3, 4, 5, 6, 7, 1_000_000].map((failures) => pauseAfter(failures, bounds));
  expect(whole).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

describe("fail", () => {
  test("draws the pause from the upper half of the whole one", () => {
    const whole = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000];
    expect(pauses(0, 7)).toEqual(whole.map((ms) => ms / 2));
    expect(pauses(0.5, 7)).toEqual(whole.map((ms) => 0.75 * ms));
    expect(pauses(1, 7)).toEqual(whole);
  });

  test("spreads thousands of agents over a quarter of a minute", () => {
    const random = makeRandom(7);
    const delays = Array.from({ length: 5000 }, () => {
      const backoff = new Backoff(bounds, random);
      for (let i = 0; i < 20; i++) backoff.fail(0);
      return backoff.waitMs(0);
    });
    const perSecond = Map.groupBy(delays, (ms) => Math.floor(ms / 1000));
    expect(Math.max(...[...perSecond.values()].map(({ length }) => length))).toBeLessThan(500);
  });

  test.each([
    ["a longer one", 1, 0, 7000, 7000],
    ["a longer one, at random", 1, 0.5, 7000, 7500],
    ["a shorter one", 9, 0, 1000, 15_000],
    ["none", 1, 0, undefined, 500],
  ])("waits at least as long as the server asked for: %s", (_, failures, random, retryAfterMs, pauseMs) => {
    const backoff = new Backoff(bounds, () => random);
    for (let i = 1; i < failures; i++) backoff.fail(0);
    expect(backoff.fail(0, { retryAfterMs })).toBe(pauseMs);
  });

  test("takes another longest pause", () => {
    const backoff = new Backoff(bounds, () => 1);
    const drawn = Array.from({ length: 12 }, () => backoff.fail(0, { longestMs: 600_000 }));
    expect(drawn.slice(-4)).toEqual([256_000, 512_000, 600_000, 600_000]);
    expect(backoff.fail(0)).toBe(30_000);
  });
});

test("waitMs counts down from the last failure, and is 0 before the first and after a reset", () => {
  const backoff = new Backoff(bounds, () => 1);
  expect(backoff.waitMs(5000)).toBe(0);
  backoff.fail(5000);
  expect([5000, 5400, 6000, 7000].map((nowMs) => backoff.waitMs(nowMs))).toEqual([1000, 600, 0, 0]);
  backoff.fail(6000);
  backoff.reset();
  expect(backoff.waitMs(6000)).toBe(0);
});

test("reset begins again, and limit shortens the next pauses only if there were more failures", () => {
  const backoff = new Backoff(bounds, () => 1);
  const next = () => [backoff.fail(0), backoff.failures];
  for (let i = 0; i < 10; i++) backoff.fail(0);
  backoff.limit(2);
  expect(next()).toEqual([4000, 3]);
  backoff.limit(5);
  expect(next()).toEqual([8000, 4]);
  backoff.reset();
  expect([backoff.failures, ...next()]).toEqual([0, 1000, 1]);
});
