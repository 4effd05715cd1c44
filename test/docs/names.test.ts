// The documents name only commands, flags and metrics that there are.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { commands } from "../../src/cli/commands.ts";
import { commonFlags } from "../../src/cli/flags.ts";
import { eventSeries } from "../../src/telemetry/event-series.ts";
import { scrapeSeries } from "../../src/telemetry/series.ts";

const root = `${import.meta.dir}/../..`;
/** Decisions are left out: they tell of what was tried, too. */
const pages = ["*.md", "docs/**/*.md"]
  .flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(root)])
  .filter((path) => path !== "CHANGELOG.md" && !path.startsWith("docs/design/decisions/"))
  .sort();

const flagsOf = new Map(
  commands.map(({ name, flags }) => [name, [...flags, ...commonFlags].map((flag) => flag.name)]),
);
const metrics = [...Object.values(eventSeries), ...scrapeSeries].map(({ name }) => name);

/** Returns the fault of `wg-cni WORDS`; undefined if it is a command with its own flags. */
function faultOf(words: string): string | undefined {
  const [first = "", second = ""] = words.split(/\s+/);
  if (first === "" || first.startsWith("-") || !/^[a-z]/.test(first)) return undefined;
  const name = flagsOf.has(`${first} ${second}`) ? `${first} ${second}` : first;
  const flags = flagsOf.get(name);
  if (flags === undefined) return `there is no command "${first} ${second}"`;
  const wrong = [...words.matchAll(/(?:^|\s)--([a-z][a-z-]*)/g)].find(
    ([, flag]) => !flags.includes(flag as string),
  );
  return wrong === undefined ? undefined : `"${name}" has no flag --${wrong[1]}`;
}

function read(path: string): string {
  return readFileSync(`${root}/${path}`, "utf8");
}

test("the documents are found", () => {
  expect(pages).toContain("docs/operations/runbook.md");
});

test.each(pages)("%s names commands and flags that there are", (path) => {
  const spans = [...read(path).matchAll(/`wg-cni ([^`]*)`/g)].map(([, words]) => words as string);
  expect(spans.map((words) => [words, faultOf(words)]).filter(([, fault]) => fault !== undefined)).toEqual(
    [],
  );
});

test.each(pages)("%s names metrics that there are", (path) => {
  const named = [...read(path).matchAll(/\bwg_cni_[a-z_]*[a-z]/g)].map(([name]) => name);
  expect(named.filter((name) => !metrics.includes(name))).toEqual([]);
});

test("control: a command, a flag and a metric that there are not are found", () => {
  expect(faultOf("rollin strict")).toBe('there is no command "rollin strict"');
  expect(faultOf("up --nod a")).toBe('"up" has no flag --nod');
  expect(faultOf("peer list --json")).toBeUndefined();
});
