// Decides when to restore our entry after another program rewrote the network configuration. The first
// rewrite is answered at once. Each further one is answered after a longer pause, because a runtime reads
// its configuration at every change and two programs must not keep it busy. Time is an argument. Pure.
//
//   rewritten  1st       2nd        3rd            …   after 15 min without a rewrite
//   restored   settle    1 s later  2 s, 4 s, 8 s  …   from the beginning
//                                   at most 10 min
import { type BackoffBounds, pauseAfter } from "../net/backoff.ts";

/** A program that rewrites a file often writes it several times in a row. */
export const settleMs = 500;
export const longestPauseMs = 600_000;
const bounds: BackoffBounds = { firstMs: 1000, longestMs: longestPauseMs };
/** It is longer than the longest pause; otherwise a contested file would look settled. */
export const resetAfterMs = 900_000;
/** After this many restores in one episode another program contests the file. */
const contestedAt = 5;

/** The agent keeps this memory of the network configuration in use. */
export interface RestoreMemory {
  /** We restored the file this many times in this episode. */
  readonly rewrites: number;
  /** We wrote it last at this time; absent if we never did. */
  readonly wroteAtMs?: number;
  /** The file has differed from the wanted one since this time; absent if it does not differ. */
  readonly divergedAtMs?: number;
}

export const noRestores: RestoreMemory = { rewrites: 0 };

export interface Attempt {
  readonly memory: RestoreMemory;
  /** True if the caller must write the file now and then call `recordWrite`. */
  readonly act: boolean;
  /** The caller must check again at this time. */
  readonly dueMs?: number;
}

/** True if another program keeps rewriting the file. */
export function isContested({ rewrites }: RestoreMemory): boolean {
  return rewrites >= contestedAt;
}

/** Decides whether to write now. `isAsWanted` is true if the file is as it should be. */
export function nextAttempt(before: RestoreMemory, isAsWanted: boolean, nowMs: number): Attempt {
  return isAsWanted ? settled(before, nowMs) : diverged(before, nowMs);
}

/** Records that the file was written. Every write after the first counts as a restore. */
export function recordWrite(before: RestoreMemory, nowMs: number): RestoreMemory {
  return { rewrites: before.wroteAtMs === undefined ? 0 : before.rewrites + 1, wroteAtMs: nowMs };
}

function settled({ divergedAtMs: _, ...memory }: RestoreMemory, nowMs: number): Attempt {
  if (memory.rewrites === 0 || memory.wroteAtMs === undefined) return { memory, act: false };
  const endMs = memory.wroteAtMs + resetAfterMs;
  if (nowMs < endMs) return { memory, act: false, dueMs: endMs };
  return { memory: { ...memory, rewrites: 0 }, act: false };
}

function diverged(before: RestoreMemory, nowMs: number): Attempt {
  const divergedAtMs = before.divergedAtMs ?? nowMs;
  const memory = { ...before, divergedAtMs };
  const dueMs = Math.max(divergedAtMs + settleMs, (before.wroteAtMs ?? 0) + pauseMs(before));
  return nowMs >= dueMs ? { memory, act: true } : { memory, act: false, dueMs };
}

function pauseMs({ rewrites, wroteAtMs }: RestoreMemory): number {
  return wroteAtMs === undefined ? 0 : pauseAfter(rewrites, bounds);
}
