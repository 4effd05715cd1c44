// How many lines many things of one kind cause.
import { expect, test } from "bun:test";
import { logFew, logOrCount } from "../../src/telemetry/log-lines.ts";
import { makeLog } from "./facts.ts";

const line = (peer: number, message = "record accepted") =>
  ({ level: "info", message, fields: { peer } }) as const;
const many = (count: number) => Array.from({ length: count }, (_, i) => line(i));

test("logFew lists ten lines of each message and counts the rest, at their level", () => {
  const { lines, log } = makeLog();
  const warnings = many(13).map((one) => ({ ...one, level: "warn", message: "record rejected" }) as const);
  logFew(log, [...many(10), ...warnings], "wg-cni peer list");
  expect(lines).toHaveLength(21);
  expect(lines.at(-1)).toBe("NOW warn  record rejected (and 3 more; `wg-cni peer list` has them all)\n");
  logFew(log, many(11));
  expect(lines.at(-1)).toBe("NOW info  record accepted (and 1 more)\n");
});

test.each([
  [0, []],
  [1, ["NOW info  record accepted peer=0\n"]],
  [11, ["NOW info  records accepted (11 peers)\n"]],
])("logOrCount with %p lines", (count, expected) => {
  const { lines, log } = makeLog();
  logOrCount(log, many(count), "records accepted", "peers");
  expect(lines).toEqual(expected);
});
