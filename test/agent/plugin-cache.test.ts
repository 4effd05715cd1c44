// The plugin's executable stays in the page cache: a real file on disk, and the test's time.
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PluginCache } from "../../src/agent/plugin-cache.ts";
import { evict, readCached } from "../../src/linux/page-cache.ts";
import { Log } from "../../src/telemetry/log.ts";
import { repository } from "../lab/paths.ts";

const sizeBytes = 8 * 1024 * 1024;
const minuteMs = 60_000;
let directory: string;
let path: string;
let nowMs: number;
let lines: string[];
let cache: PluginCache;

beforeEach(() => {
  // Files of /tmp are in memory on some machines, and cannot be taken out of it.
  directory = mkdtempSync(join(repository, "node_modules", ".wg-cni-test-"));
  path = join(directory, "wg-cni");
  writeFileSync(path, Buffer.alloc(sizeBytes, 1));
  nowMs = 0;
  lines = [];
  const write = (line: string) => lines.push(line);
  cache = new PluginCache(() => path, {
    log: new Log({ format: "json", level: "debug", now: () => "", write }),
    now: () => nowMs,
  });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Lets the cache check at a time. Returns how often it has read so far. */
async function readsUntil(timeMs: number): Promise<number> {
  nowMs = timeMs;
  cache.keep();
  await cache.settled();
  return lines.length;
}

test("a file that was evicted is read again, and the log says so", async () => {
  evict(path);
  expect(readCached(path).missingBytes).toBe(sizeBytes);
  expect(await readsUntil(0)).toBe(1);
  expect(readCached(path).missingBytes).toBe(0);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "info", path, missingBytes: sizeBytes });
});

test("a file that is there is not read", async () => {
  expect(await readsUntil(0)).toBe(0);
  expect(await readsUntil(minuteMs)).toBe(0);
});

test("an executable that is not installed yet is read once it is, and evicted", async () => {
  rmSync(path);
  expect(await readsUntil(0)).toBe(0);
  writeFileSync(path, Buffer.alloc(sizeBytes, 1));
  evict(path);
  expect(await readsUntil(minuteMs)).toBe(1);
});

test("pages that are missing again and again are read ever more rarely, at least every hour", async () => {
  const readAt: number[] = [];
  for (let minute = 0; minute <= 4 * 60; minute++) {
    evict(path);
    const before = lines.length;
    if ((await readsUntil(minute * minuteMs)) > before) readAt.push(minute);
  }
  expect(readAt).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183]);
});
