// The benchmark's arithmetic and verdicts, without measuring anything.

import { expect, test } from "bun:test";
import { report } from "./report.ts";
import { quantile } from "./samples.ts";

test("quantiles are values of the list, by nearest rank", () => {
  expect(quantile([7], 0.5)).toBe(7);
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2);
  expect(quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.9)).toBe(9);
});

test("a ratio is of medians, and a budget missed is counted", () => {
  const samples = {
    "ADD ptp": [8, 8, 80],
    "ADD wg-cni": [6, 6, 60],
    "ADD tuning": [2],
    "ADD wg-cni chained": [5],
  };
  const { lines, missedBudgets } = report({ samples, bursts: [] });
  const line = (text: string) => lines.find((one) => one.includes(text)) ?? "";
  expect(line("standalone")).toMatch(/6\.00 ms +60\.00 ms +0\.75/);
  expect(line("wg-cni, chained")).toContain("2.50");
  expect(missedBudgets).toBe(1);
});

test("failures of a burst stand in place of its verdict", () => {
  const burst = {
    contender: "wg-cni",
    verb: "ADD",
    count: 50,
    wallMs: 10,
    failures: ["address range is full"],
  } as const;
  const { lines } = report({ samples: {}, bursts: [{ ...burst, contender: "ptp", failures: [] }, burst] });
  expect(lines.join("\n")).toContain("1 failed: address range is full");
});

test("contenders that were not measured have no line", () => {
  const { lines } = report({ samples: { "ADD ptp": [8] }, bursts: [] });
  expect(lines.join("\n")).not.toContain("wg-cni");
});
