// The built program says what is wrong if nothing takes its output, and shows no trace and no source.
import { expect, test } from "bun:test";
import { openSync } from "node:fs";
import { binary } from "../lab/paths.ts";

const runs: readonly (readonly [what: string, command: string | undefined, words: readonly string[]])[] = [
  ["VERSION", "VERSION", []],
  ["an ADD that is refused", "ADD", []],
  ["the command line's help", undefined, ["--help"]],
  ["an error as JSON", undefined, ["no-such-command", "--json"]],
];

test.each(runs)("%s with a full standard output ends in one line", (_what, command, words) => {
  const env = command === undefined ? {} : { CNI_COMMAND: command };
  const stdout = openSync("/dev/full", "w");
  const { stderr, exitCode } = Bun.spawnSync([binary, ...words], { env, stdin: "ignore", stdout });
  expect(exitCode).toBe(1);
  expect(stderr.toString()).toMatch(/^[^\n]+\n$/);
  expect(stderr.toString()).not.toMatch(/\bat .*:\d+:\d+/);
});
