import { expect, test } from "bun:test";
import { Pace } from "../../src/agent/pace.ts";

const spacingMs = 50;

/** Runs passes as early as they may run until `untilMs`; returns their starts. */
function run(pace: Pace, costMs: number, { fromMs = 0, untilMs = 10_000 } = {}): number[] {
  const starts: number[] = [];
  for (let startMs = fromMs; startMs < untilMs; startMs = Math.max(startMs + costMs, pace.nextMs)) {
    pace.spend(startMs, costMs);
    starts.push(startMs);
  }
  return starts;
}

/** The time from each start to the next. */
const gaps = (starts: readonly number[]) => starts.slice(1).map((ms, i) => ms - (starts[i] as number));

test("the first pass may run at once", () => {
  expect(new Pace(spacingMs).nextMs).toBe(Number.NEGATIVE_INFINITY);
});

test.each([
  ["a short pass", 5],
  ["a pass over a thousand peers", 100],
  ["a pass over thousands of peers", 250],
])("after a rest, the change after %s waits only for the spacing", (_what, costMs) => {
  const pace = new Pace(spacingMs);
  run(pace, costMs);
  pace.spend(20_000, costMs);
  expect(pace.nextMs).toBe(20_000 + spacingMs);
});

test.each([
  ["short passes: by the spacing", 1, 50],
  ["passes over a thousand peers: to a third of the time", 100, 300],
  ["passes over thousands of peers: to a third of the time", 300, 900],
  ["passes under emulation: by the longest wait", 1500, 2000],
])("changes without end are held to %s", (_what, costMs, gapMs) => {
  const starts = run(new Pace(spacingMs), costMs, { untilMs: 60_000 });
  for (const gap of gaps(starts).slice(-10)) expect(gap).toBeCloseTo(gapMs, 6);
});

test("a pass that takes longer than the longest wait leaves no debt to those after it", () => {
  const pace = new Pace(spacingMs);
  pace.spend(0, 60_000);
  expect(pace.nextMs).toBe(2000);
  pace.spend(60_000, 10);
  expect(pace.nextMs).toBe(60_000 + spacingMs);
});

test("ten changes a second that cost 30 ms each are programmed one by one", () => {
  const pace = new Pace(spacingMs);
  for (let startMs = 0; startMs < 60_000; startMs += 100) {
    expect(pace.nextMs).toBeLessThanOrEqual(startMs);
    pace.spend(startMs, 30);
  }
});
