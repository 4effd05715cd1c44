// Two thousand damaged stores. Whatever a disk has done to a store, it is refused in words, or what it gives was
// written to it; no address of a live pod is given again, and the node's identity is the last one that it had.
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import type { Outcome } from "./child.ts";

const stores = 2000;
/** The longest time that one store may take: as long as the wait for a lock, and a slow disk. */
const longestMs = 10_000;
const child = resolve(import.meta.dir, "child.ts");
// In memory if possible: what a disk costs is not tested here.
const directory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "wgt-damage-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Runs a process for the cases, so that a hang or a crash costs only that process. */
async function run(first: number, count: number): Promise<Outcome[]> {
  const argv = [process.execPath, child, directory, String(first), String(count)];
  const process_ = Bun.spawn(argv, { stdout: "pipe", stderr: "inherit" });
  const outcomes: Outcome[] = [];
  const decoder = new TextDecoder();
  let rest = "";
  let alarm = setTimeout(() => process_.kill("SIGKILL"), longestMs);
  for await (const bytes of process_.stdout) {
    clearTimeout(alarm);
    alarm = setTimeout(() => process_.kill("SIGKILL"), longestMs);
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() as string;
    outcomes.push(...lines.map((line) => JSON.parse(line) as Outcome));
  }
  clearTimeout(alarm);
  await process_.exited;
  return outcomes;
}

function repeat(seed: number): string {
  return `scripts/bun ${relative(process.cwd(), child)} "$(mktemp -d)" ${seed} 1`;
}

test("a damaged store is refused in words, or gives what was written to it", async () => {
  const outcomes = await run(0, stores);
  const wrong = outcomes
    .filter(({ violations }) => violations.length > 0)
    .map(({ seed, what, violations }) => ({ what, violations, command: repeat(seed) }));
  expect(wrong).toEqual([]);
  const last = outcomes.length;
  expect(last < stores ? `case ${last} ended its process, or hung: ${repeat(last)}` : "").toBe("");
  // The damages are real ones: some must be refused, and not all of them.
  const refused = outcomes.filter(({ refusals }) => refusals.length > 0).length;
  expect(refused).toBeGreaterThan(stores / 20);
  expect(refused).toBeLessThan(stores / 2);
}, 180_000);
