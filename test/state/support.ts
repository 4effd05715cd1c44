// The state tests share directories that are removed with the tests, and child processes that work on the
// same file.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const directories: string[] = [];

/** For `afterAll` of every file that makes some: this module is loaded once for all of them. */
export function removeStateDirs(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

/** A state directory that does not exist yet, inside one that goes away with the tests. */
export function newStateDir(): string {
  const directory = mkdtempSync(join(tmpdir(), "wgt-state-"));
  directories.push(directory);
  return join(directory, "state");
}

/** Starts test/state/child.ts with these arguments. */
export function startChild(...args: string[]) {
  return startChildBy([], ...args);
}

function startChildBy(before: readonly string[], ...args: string[]) {
  const child = [process.execPath, resolve(import.meta.dir, "child.ts")];
  return Bun.spawn([...before, ...child, ...args], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
}

/** Runs one child to its end; throws with what it said where it failed. */
export function runChild(...args: string[]): Promise<string> {
  return runChildBy([], ...args);
}

/** The same under another program, which is given the child's command. */
export async function runChildBy(before: readonly string[], ...args: string[]): Promise<string> {
  const child = startChildBy(before, ...args);
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`child ${args.join(" ")} ended with ${code}:\n${stderr}`);
  return stdout;
}
