// The benchmark's arithmetic, verdicts, page and picture, without measuring anything.

import { expect, test } from "bun:test";
import { budgets, burstBudgets } from "./budgets.ts";
import { compare } from "./compare.ts";
import { benchmarkPage } from "./page.ts";
import { benchmarkPlot } from "./plot.ts";
import { report } from "./report.ts";
import { type Burst, quantile, type Samples } from "./samples.ts";

const burst = (contender: Burst["contender"], wallMs: number, failures: string[] = []): Burst => ({
  ...{ contender, verb: "ADD", count: 50, wallMs, failures },
});
const samples: Samples = {
  "ADD ptp": [8, 8, 80],
  "ADD wg-cni": [6, 6, 60],
  "ADD tuning": [2],
  "ADD wg-cni chained": [5],
  "DEL ptp": [10],
  "DEL wg-cni": [13],
  "VERSION ptp": [2],
  "VERSION empty program": [2.4],
  "VERSION cilium-cni": [6],
  "VERSION wg-cni": [3],
};
const occasion = {
  ...{ date: "2026-01-31", commit: "0123abc", machine: "2 cores (x64), Linux 6.1.0", load: 0.25 },
};

test("quantiles are values of the list, by nearest rank", () => {
  expect(quantile([7], 0.5)).toBe(7);
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2);
  expect(quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.9)).toBe(9);
});

test("a ratio is of medians, and a limit that is exceeded is counted", () => {
  const { calls } = compare({ samples, bursts: [] });
  const adds = calls.filter(({ group }) => group === "ADD");
  expect(adds.find(({ contender }) => contender === "wg-cni")).toMatchObject({
    ...{ medianMs: 6, spreadMs: [6, 60], ratio: 0.75, verdict: { kind: "held" } },
  });
  expect(adds.find(({ contender }) => contender === "wg-cni chained")).toMatchObject({
    ...{
      ratio: 2.5,
      verdict: {
        kind: "above",
        floor: {
          text: expect.stringContaining("(an empty program of the same compiler 1.20)"),
          value: "1.20",
        },
      },
    },
  });
  expect(calls.find(({ group, ratio }) => group === "DEL" && ratio !== undefined)).toMatchObject({
    ...{ ratio: 1.3, verdict: { kind: "missed" } },
  });
  expect(report({ samples, bursts: [] }).missedBudgets).toBe(1);
});

test("a ratio within the margin is no failure, and is not said to be held", () => {
  const within = { "DEL ptp": [100], "DEL wg-cni": [110] };
  const measured = { samples: within, bursts: [] };
  const row = compare(measured).calls.find(({ ratio }) => ratio !== undefined);
  expect(row).toMatchObject({ ratio: 1.1, verdict: { kind: "above", budget: "1.0" } });
  expect(report(measured).missedBudgets).toBe(0);
  expect(benchmarkPage(measured, occasion)).toContain("**over 1.0**");
});

test("a start is judged against each plugin that a budget names", () => {
  const { calls } = compare({ samples, bursts: [] });
  const starts = calls.filter(({ group, contender }) => group === "VERSION" && contender === "wg-cni");
  expect(starts.map(({ ratio }) => ratio)).toEqual([1.5, 0.5]);
  const { "VERSION cilium-cni": _, ...without } = samples;
  expect(
    compare({ samples: without, bursts: [] }).calls.filter(({ group }) => group === "VERSION"),
  ).toHaveLength(3);
});

test("failures of a burst stand in place of its verdict", () => {
  const bursts = [burst("ptp", 10), burst("wg-cni", 10, ["address range is full"])];
  const [, row] = compare({ samples: {}, bursts }).bursts;
  expect(row).toMatchObject({ failures: { count: 1, first: "address range is full" } });
  expect(row?.verdict).toBeUndefined();
});

test("contenders that were not measured have no row", () => {
  const { calls } = compare({ samples: { "ADD ptp": [8] }, bursts: [] });
  expect(calls.map(({ contender }) => contender)).toEqual(["ptp"]);
});

test("a budget that cannot be held names its floor, and each other is enforced with a margin", () => {
  for (const { times, limit, floor } of [...budgets, ...Object.values(burstBudgets)])
    expect(limit > times * 1.3).toBe(floor !== undefined);
});

test("the page has every row, and the picture a bar for each call", () => {
  const measured = { samples, bursts: [burst("ptp", 10), burst("wg-cni", 30)] };
  const { calls, bursts } = compare(measured);
  const page = benchmarkPage(measured, occasion);
  for (const { label } of [...calls, ...bursts]) expect(page).toContain(`| ${label} |`);
  expect(page).toContain("2026-01-31, commit 0123abc, 2 cores (x64), Linux 6.1.0, load 0.3");
  expect(page).toContain("- 50 ADD of wg-cni standalone, dual-stack takes 3.00 times instead of 0.8");
  const plot = benchmarkPlot(measured);
  expect(plot.match(/<rect x=/g)).toHaveLength(calls.length - 1);
  expect(plot).not.toMatch(/NaN|undefined/);
});
