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

test("a repair that does not last has one line more, then ever fewer, and one when it lasts", () => {
  const { lines, log } = start();
  const atMs: number[] = [];
  const endMs = 3_600_000;
  for (let nowMs = 0; nowMs < endMs; nowMs += 5000) {
    const before = lines.length;
    log.restored(change, nowMs);
    log.settle(nowMs);
    if (lines.length > before) atMs.push(nowMs);
  }
  // 5 minutes after the second one, then 10, 20 and 40 minutes.
  expect(atMs).toEqual([0, 5000, 305_000, 905_000, 2_105_000]);
  log.settle(endMs + 60_000);
  expect(lines).toHaveLength(6);
  log.restored(change, endMs + 100_000);
  expect(lines).toHaveLength(7);
});

test("damage that differs in a key or an address alone is the same again", () => {
  const { lines, log } = start();
  const key = (letter: string) => `${letter.repeat(43)}=`;
  for (const letter of "abcdefgh")
    log.restored({ ...change, first: `wg set wg-cni-a peer ${key(letter)} remove` }, 0);
  for (const dst of ["10.2.0.0/24", "10.3.0.0/24", "fd00:2::/64", "2001:db8::7", "::/0"])
    log.restored({ ...change, first: `ip route delete ${dst} table 18099` }, 0);
  expect(lines.map((line) => line.split(" | ")[0])).toEqual([
    "warn mesh changed by another process, restored",
    "warn repairs of the mesh do not last: another process changes it again",
    "warn mesh changed by another process, restored",
    "warn repairs of the mesh do not last: another process changes it again",
  ]);
});

test("repairs of different things have lines of their own, and a single one ends without a line", () => {
  const { lines, log } = start();
  log.restored(change, 0);
  log.restored({ ...change, first: "wg set" }, 1000);
  log.settle(100_000);
  expect(lines.map((line) => line.split("| ")[1])).toEqual([change.first, "wg set"]);
});
