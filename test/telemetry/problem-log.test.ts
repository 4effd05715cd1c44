// A lasting problem causes lines when it begins, when it changes and when it ends.
import { expect, test } from "bun:test";
import { type Problem, ProblemLog } from "../../src/telemetry/problem-log.ts";
import { makeLog } from "./facts.ts";

function open() {
  const { lines, log } = makeLog();
  const problems = new ProblemLog(log);
  /** The lines since the last call, without time and line end. */
  const logged = () => lines.splice(0).map((line) => line.slice("NOW ".length, -1));
  return { problems, logged };
}

const rejected = (file: string, reason: string): [string, Problem] => [
  file,
  { message: "record rejected", fields: { file, reason } },
];

test.each<[string, readonly (Problem | string | undefined)[], readonly string[]]>([
  ["none", [undefined, undefined], []],
  ["one that lasts", ["it fails", "it fails"], ["warn  it fails"]],
  ["one that ends", ["it fails", undefined], ["warn  it fails", "info  resolved: it fails"]],
  ["another message", ["it fails", "it is full"], ["warn  it fails", "warn  it is full"]],
  [
    "another field",
    [
      { message: "it fails", fields: { why: "full" } },
      { message: "it fails", fields: { why: "full" } },
      { message: "it fails", fields: { why: "locked" } },
    ],
    ["warn  it fails why=full", "warn  it fails why=locked"],
  ],
  [
    "a level and a name of its own",
    [{ level: "error", message: "it fails: call somebody", name: "it fails" }, undefined],
    ["error it fails: call somebody", "info  resolved: it fails"],
  ],
  [
    "another level alone",
    [
      { level: "error", message: "it fails" },
      { level: "info", message: "it fails" },
    ],
    ["error it fails"],
  ],
])("reportOnChange logs %s", (_, reports, lines) => {
  const { problems, logged } = open();
  const results = reports.flatMap((problem) => {
    const hasReported = problems.reportOnChange("topic", problem);
    const now = logged();
    expect(hasReported).toBe(now.length > 0);
    return now;
  });
  expect(results).toEqual([...lines]);
});

test("reportOnChange keeps topics apart", () => {
  const { problems, logged } = open();
  problems.reportOnChange("disk", "it is full");
  problems.reportOnChange("port", "it is in use");
  problems.reportOnChange("disk", undefined);
  problems.reportOnChange("port", "it is in use");
  expect(logged()).toEqual(["warn  it is full", "warn  it is in use", "info  resolved: it is full"]);
});

test("reportOnChange makes details for a line only, and does not compare them", () => {
  const { problems, logged } = open();
  let made = 0;
  const problem: Problem = { message: "it fails", fields: { at: 1 }, details: () => ({ made: ++made }) };
  for (let i = 0; i < 3; i++) problems.reportOnChange("topic", problem);
  problems.reportOnChange("topic", undefined);
  expect(logged()).toEqual(["warn  it fails at=1 made=1", "info  resolved: it fails at=1"]);
  expect(made).toBe(1);
});

test("reportAllOnChange logs the problems that begin, change or end, and not those that last", () => {
  const { problems, logged } = open();
  problems.reportAllOnChange("records", new Map([rejected("a", "empty"), rejected("b", "empty")]));
  logged();
  problems.reportAllOnChange("records", new Map([rejected("b", "torn"), rejected("c", "empty")]));
  expect(logged()).toEqual([
    "warn  record rejected file=b reason=torn",
    "warn  record rejected file=c reason=empty",
    "info  resolved: record rejected file=a reason=empty",
  ]);
});

test("reportAllOnChange counts the lines above ten of one message, and names the command that lists them", () => {
  const { problems, logged } = open();
  const many = Array.from({ length: 13 }, (_, i) => rejected(`${i}`, "empty"));
  problems.reportAllOnChange("records", new Map(many), "wg-cni peer list");
  const begun = logged();
  expect(begun).toHaveLength(11);
  expect(begun.at(-1)).toBe("warn  record rejected (and 3 more; `wg-cni peer list` has them all)");
  problems.reportAllOnChange("records", new Map());
  expect(logged().at(-1)).toBe("info  resolved: record rejected (and 3 more)");
});

test("forget drops problems without a line, so that they are logged again", () => {
  const { problems, logged } = open();
  problems.reportOnChange("topic", "it fails");
  problems.forget();
  expect(logged()).toEqual(["warn  it fails"]);
  problems.reportOnChange("topic", undefined);
  problems.reportOnChange("topic", "it fails");
  expect(logged()).toEqual(["warn  it fails"]);
});
