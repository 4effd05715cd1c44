// The report of several agents among many nodes: its arithmetic and verdicts, without measuring anything.
import { expect, test } from "bun:test";
import type { ClusterFigures, Load } from "./figures.ts";
import { report } from "./report.ts";

const load: Load = {
  seconds: 10,
  requests: { "patch wireguardnodes/status": 2 },
  bytes: 20_480,
  cpuMs: 1000,
};

const within: ClusterFigures = {
  ...{ nodes: 1000, agents: 5, rate: 10, machineLoad: 1, cores: 2 },
  rest: { ...load, requests: {} },
  policies: { answeredMs: [190, 200, 210], cpuMs: 180 },
  changes: {
    ...{ ...load, answeredMs: [5, 6, 7], watchedMs: [6, 7, 8] },
    ...{ followedMs: [23, 33, 192], programmedMs: [30, 40, 200] },
  },
  join: { ...load, lastPairMs: 900 },
  leave: { removedMs: [20, 30] },
  rotation: { ...load, doneMs: 25_000 },
};

const text = (figures: ClusterFigures) => report(figures).lines.join("\n");

test("medians, requests, and the share of a processor", () => {
  expect(text(within)).toMatch(/processor time of the API server for it +180 ms/);
  expect(text(within)).toMatch(/from there to the kernel of each node +33\.00 ms +192 ms/);
  expect(text(within)).toMatch(/a change is programmed +40\.00 ms +200 ms +200 ms/);
  expect(text(within)).toMatch(/records change +2 +2\.0 KB +2\.0 %/);
  expect(report(within).missedBudgets).toBe(0);
});

test.each([
  ["a slow median", { changes: { ...within.changes, programmedMs: [51, 52, 53] } }],
  ["a slow tail", { changes: { ...within.changes, programmedMs: [30, 40, 251] } }],
  ["requests at rest", { rest: { ...within.rest, requests: { "list nodes": 6 } } }],
] as const)("%s is over budget", (_, change) => {
  expect(report({ ...within, ...change }).missedBudgets).toBe(1);
});
