import { expect, test } from "bun:test";
import type { Growth } from "./figures.ts";
import { growthTable } from "./page.ts";

const pass = { syncMs: 4, cpuMs: 10, writes: 0 };
const few: Growth = {
  ...{ peers: 1000, noop: [pass, { ...pass, syncMs: 90 }, pass], restMs: 100 },
  change: [{ ...pass, syncMs: 6, writes: 10, programmedMs: 70 }],
  memory: { resident: 50 * 1024 ** 2, proportional: 0, peak: 60 * 1024 ** 2 },
  firstSync: { ours: [90], commands: [100] },
};
const many: Growth = { ...few, peers: 5000, noop: [{ ...pass, syncMs: 12 }], restMs: 500 };

test("each figure has a row with a column for each number of peers, and its growth", () => {
  const lines = growthTable([few, many]).split("\n");
  expect(lines[0]).toBe("|  | 1,000 peers | 5,000 peers | growth of the last step |");
  expect(lines).toContain("| sync with nothing to do | 4.00 ms | 12.00 ms | 3.0 × |");
  expect(lines).toContain("| writes of it | 0 | 0 |  |");
  expect(lines).toContain("| what one changed peer adds to the sync | 2.00 ms | -6.00 ms |  |");
  expect(lines).toContain("| first sync, against `wg setconf` and `ip -batch` | 0.90 × | 0.90 × | 1.0 × |");
  expect(new Set(lines.map((line) => line.split("|").length)).size).toBe(1);
});
