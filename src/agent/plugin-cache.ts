// Keeps the plugin's executable in the page cache, so that no pod waits for the disk. Under memory pressure the
// kernel drops pages, and calls fetch the ones they need back in an order that leaves the file slower for
// good (linux/page-cache.ts). So if pages are missing, the agent reads the file from beginning to end. If most
// are missing, it drops the rest before; else calls would wait for the disk meanwhile that do not now.
// Reads that follow each other too soon become rarer: memory is short then.
import { open } from "node:fs/promises";
import { isAbsent } from "../linux/file.ts";
import { type Cached, evict, readCached } from "../linux/page-cache.ts";
import { SysError } from "../linux/syscall.ts";
import { pauseAfter } from "../net/backoff.ts";
import { attempt } from "../net/error.ts";
import type { Log } from "../telemetry/log.ts";

/** The pause between two checks, which takes half a millisecond, doubles up to the longest while pages are found missing. */
const pauses = { firstMs: 60_000, longestMs: 3_600_000 };
/** Fewer missing bytes are of parts that calls do not use. */
const toleratedBytes = 4 * 1024 * 1024;
const blockBytes = 1024 * 1024;
const nothing: Cached = { sizeBytes: 0, missingBytes: 0 };
const unknown: Cached = { sizeBytes: 0, missingBytes: Number.POSITIVE_INFINITY };

export interface PluginCacheOptions {
  readonly log: Log;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
}

export class PluginCache {
  #dueMs = Number.NEGATIVE_INFINITY;
  /** The number of checks in a row that found pages missing. */
  #reads = 0;
  #reading: Promise<void> | undefined;

  constructor(
    private readonly readPath: () => string,
    private readonly options: PluginCacheOptions,
  ) {}

  /** Checks the executable if it is time, and reads it in the background if pages are missing. Throws what `readPath` throws. */
  keep(): void {
    const nowMs = this.options.now();
    if (nowMs < this.#dueMs || this.#reading !== undefined) return;
    const isFirst = this.#dueMs === Number.NEGATIVE_INFINITY;
    const path = this.readPath();
    const cached = findCached(path, isFirst);
    this.#reads = cached.missingBytes > toleratedBytes ? this.#reads + 1 : 0;
    this.#dueMs = nowMs + pauseAfter(Math.max(1, this.#reads), pauses);
    if (this.#reads > 0) this.#reading = this.#read(path, cached);
  }

  /** Resolves when no read is going on. */
  async settled(): Promise<void> {
    await this.#reading;
  }

  async #read(path: string, { sizeBytes, missingBytes }: Cached): Promise<void> {
    try {
      if (missingBytes > sizeBytes / 2) evict(path);
      await using file = await open(path);
      const buffer = Buffer.alloc(blockBytes);
      while ((await file.read(buffer, 0, blockBytes, null)).bytesRead > 0);
      const missing = Number.isFinite(missingBytes) ? { missingBytes } : {};
      this.options.log.info("plugin missing from the page cache, read again", { path, ...missing });
    } catch {
      // The file has been replaced or removed meanwhile; the next check sees the new one.
    } finally {
      this.#reading = undefined;
    }
  }
}

/**
 * Before the plugin is installed there is nothing to keep. If the kernel does not say what is missing, because a filter of
 * system calls refuses the question, all is taken for missing at the first check, and nothing later.
 */
function findCached(path: string, isFirst: boolean): Cached {
  return attempt(
    SysError,
    () => readCached(path),
    (error) => (isFirst && !isAbsent(error) ? unknown : nothing),
  );
}
