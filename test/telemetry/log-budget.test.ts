// The log stays bounded, however often other processes cause a line.
import { expect, test } from "bun:test";
import { Log } from "../../src/telemetry/log.ts";
import { LineBudget } from "../../src/telemetry/log-budget.ts";

test("of one kind a hundred lines at once, then one a second, which tells how many were left out", () => {
  const budget = new LineBudget();
  const granted = (times: number, nowMs: number) =>
    Array.from({ length: times }, (_, i) => budget.take(`claim of a peer refused ${i}`, nowMs)).flatMap(
      (grant) => grant?.leftOut ?? [],
    );
  expect(granted(100, 0)).toEqual(new Array(100).fill(0));
  expect(granted(5000, 0)).toEqual([]);
  expect(granted(3, 999)).toEqual([]);
  expect(granted(4, 2000)).toEqual([5003, 0]);
  // Other things are said.
  expect(budget.take("stopping", 2000)).toEqual({ leftOut: 0 });
  // After a quiet while all is as before, and no more than that.
  expect(granted(200, 1e9)).toHaveLength(100);
});

test("kinds that a peer makes up take no more memory than a few, and none of the budget of the rest", () => {
  const budget = new LineBudget();
  for (let i = 0; i < 100_000; i++) expect(budget.take(`${i} is a name`, i)).toEqual({ leftOut: 0 });
  expect(budget.take("stopping", 0)).toEqual({ leftOut: 0 });
});

test("warnings are left out and counted, debugging is not", () => {
  const lines: string[] = [];
  let nowMs = 0;
  const log = new Log({
    ...{ format: "json", level: "debug", now: () => "NOW", monotonicMs: () => nowMs },
    write: (line) => lines.push(line),
  });
  for (let i = 0; i < 300; i++) {
    log.warn("record rejected", { file: `${i}.json` });
    log.debug("reconciled", { i });
  }
  nowMs = 1000;
  log.warn("record rejected", { file: "last.json" });
  expect([lines.filter((line) => line.includes("reconciled")).length, lines.length]).toEqual([300, 401]);
  expect(JSON.parse(lines.at(-1) as string)).toMatchObject({ file: "last.json", leftOut: 200 });
});
