// The report of an agent among thousands of nodes: its arithmetic and verdicts,
// without measuring anything.

import { expect, test } from "bun:test";
import type { Figures } from "./figures.ts";
import { askedOfServer, report } from "./report.ts";

const megabyte = 1024 ** 2;
const memory = { resident: 110 * megabyte, proportional: 100 * megabyte, peak: 140 * megabyte };
const pass = { syncMs: 40, cpuMs: 90, writes: 0 };

const within: Figures = {
  ...{ peers: 5000, load: 1, cores: 2 },
  memory: { imported: memory, api: memory, joined: memory },
  start: { requests: { "list wireguardnodes": 10, "watch nodes": 1 }, bytes: 2 * megabyte, joinedMs: 4000 },
  rest: { seconds: 120, requests: {}, bytes: 4096, cpuMs: 400, writes: 0 },
  noop: [pass, { ...pass, syncMs: 30 }, { ...pass, syncMs: 400 }],
  change: [{ ...pass, syncMs: 55, writes: 4, programmedMs: 250, bytes: 3072, requests: {}, rows: 1 }],
  relist: { requests: { "list wireguardnodes": 11 }, bytes: megabyte, ms: 900, rows: 0, writes: 0 },
  adds: { during: { ours: [20, 50], ptp: [25] }, afterwards: { ours: [10], ptp: [10] } },
  firstSync: { ours: [90], commands: [100], firewall: [10] },
};

const text = (figures: Figures) => report(figures).lines.join("\n");

test("medians, what a change adds, and ratios", () => {
  expect(text(within)).toMatch(/nothing to do +40\.00 ms +400 ms +90\.00 ms/);
  expect(text(within)).toMatch(/what the change adds +15\.00 ms/);
  expect(text(within)).toMatch(/wg-cni sync, with all three +90\.00 ms +0\.90/);
  expect(text(within)).toMatch(/a minute of rest +200 ms/);
  expect(text(within)).toContain("10 list wireguardnodes, 1 watch nodes");
  expect(report(within).missedBudgets).toBe(0);
});

test.each([
  ["a peak of memory", { memory: { ...within.memory, api: { ...memory, peak: 151 * megabyte } } }],
  ["a request while nothing changes", { rest: { ...within.rest, requests: { "list nodes": 1 } } }],
  [
    "a request by a change",
    { change: within.change.map((one) => ({ ...one, requests: { "list nodes": 1 } })) },
  ],
  ["a write while nothing changes", { rest: { ...within.rest, writes: 1 } }],
  ["a pass with nothing to do that takes long", { noop: [{ ...pass, syncMs: 51 }] }],
  ["a pass with nothing to do that writes", { noop: [{ ...pass, writes: 1 }] }],
  ["a change that adds too much", { change: within.change.map((one) => ({ ...one, syncMs: 61 })) }],
  ["a list that is as before and writes a peer", { relist: { ...within.relist, rows: 1 } }],
  [
    "an ADD that waits for the first sync",
    { adds: { ...within.adds, during: { ours: [20, 51], ptp: [99] } } },
  ],
  ["a first sync that is slower", { firstSync: { ...within.firstSync, ours: [101] } }],
] as const)("%s is over budget", (_, change) => {
  expect(report({ ...within, ...(change as Partial<Figures>) }).missedBudgets).toBe(1);
});

test("5,000 agents that watch three kinds for 45 minutes each ask 5.6 times a second, and report once", () => {
  const { watches, statuses } = askedOfServer(5000);
  expect(watches).toBeCloseTo(15_000 / 2700);
  expect(statuses).toBe(1);
});
