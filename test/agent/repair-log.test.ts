// A repair is one warning; repairs that do not last are two lines, however often they are made.
import { expect, test } from "bun:test";
import { RepairLog } from "../../src/agent/repair-log.ts";
import { Log } from "../../src/telemetry/log.ts";

const change = { reason: "rules", writes: 2, first: "ip rule add priority 100" };

function start() {
  const lines: string[] = [];
  const write = (line: string) => {
    const { level, message, first } = JSON.parse(line);
    lines.push(`${level} ${message} | ${first}`);
  };
  return { lines, log: new RepairLog(new Log({ level: "debug", format: "json", now: () => "", write })) };
}

test("a change that was decided is information, one by another process a warning", () => {
  const { lines, log } = start();
  log.changed(change);
  log.restored(change, 0);
  expect(lines.map((line) => line.split(" ")[0])).toEqual(["info", "warn"]);
});

test("a repair that does not last has one line more, and one when it does", () => {
  const { lines, log } = start();
  for (let nowMs = 0; nowMs < 300_000; nowMs += 5000) {
    log.restored(change, nowMs);
    log.settle(nowMs);
  }
  expect(lines).toHaveLength(2);
  log.settle(356_000);
  expect(lines).toHaveLength(3);
  log.restored(change, 400_000);
  expect(lines).toHaveLength(4);
});

test("repairs of different things have lines of their own, and a single one ends without a line", () => {
  const { lines, log } = start();
  log.restored(change, 0);
  log.restored({ ...change, first: "wg set" }, 1000);
  log.settle(100_000);
  expect(lines.map((line) => line.split("| ")[1])).toEqual([change.first, "wg set"]);
});
