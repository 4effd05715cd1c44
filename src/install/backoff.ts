// How soon a network that somebody has rewritten is written again. Whoever does
// that once a month is answered at once; whoever does it each time gets ever
// longer pauses, so two programs that both know better do not wear out the
// runtime, which reads its configuration at every change. Time is an argument. Pure.
//
//   rewritten  1st       2nd        3rd            …   after 15 min of peace
//   answered   settle    1 s later  2 s, 4 s, 8 s  …   from the beginning
//                                   at most 10 min

/** Who rewrites a file often writes several times in a row. */
export const settleMs = 500;
const firstPauseMs = 1000;
export const longestPauseMs = 600_000;
/** Longer than the longest pause, or a fight would look like peace. */
export const resetAfterMs = 900_000;
/** Rewritten so often in one episode, it is no coincidence. */
const contestedAt = 5;

/** What is remembered of the network in use. */
export interface Backoff {
  /** Times that it was written again in this episode. */
  readonly rewrites: number;
  /** When we wrote it last; absent where we never did. */
  readonly wroteAtMs?: number;
  /** Since when it is not as wanted; absent where it is. */
  readonly divergedAtMs?: number;
}

export const noBackoff: Backoff = { rewrites: 0 };

export interface Attempt {
  readonly backoff: Backoff;
  /** Write it now; `wrote` is to be called then. */
  readonly act: boolean;
  /** When to look again. */
  readonly dueMs?: number;
}

/** True from the time that it is no coincidence any more until there is peace. */
export function isContested({ rewrites }: Backoff): boolean {
  return rewrites >= contestedAt;
}

/** `isAsWanted`: the network is as it should be. */
export function nextAttempt(before: Backoff, isAsWanted: boolean, nowMs: number): Attempt {
  return isAsWanted ? settled(before, nowMs) : diverged(before, nowMs);
}

/** After it was written, which is an answer where it had been written before. */
export function recordWrite(before: Backoff, nowMs: number): Backoff {
  return { rewrites: before.wroteAtMs === undefined ? 0 : before.rewrites + 1, wroteAtMs: nowMs };
}

function settled({ divergedAtMs: _, ...backoff }: Backoff, nowMs: number): Attempt {
  if (backoff.rewrites === 0 || backoff.wroteAtMs === undefined) return { backoff, act: false };
  const endMs = backoff.wroteAtMs + resetAfterMs;
  if (nowMs < endMs) return { backoff, act: false, dueMs: endMs };
  return { backoff: { ...backoff, rewrites: 0 }, act: false };
}

function diverged(before: Backoff, nowMs: number): Attempt {
  const divergedAtMs = before.divergedAtMs ?? nowMs;
  const backoff = { ...before, divergedAtMs };
  const dueMs = Math.max(divergedAtMs + settleMs, (before.wroteAtMs ?? 0) + pauseMs(before));
  return nowMs >= dueMs ? { backoff, act: true } : { backoff, act: false, dueMs };
}

function pauseMs({ rewrites, wroteAtMs }: Backoff): number {
  if (wroteAtMs === undefined || rewrites === 0) return 0;
  return Math.min(firstPauseMs * 2 ** (rewrites - 1), longestPauseMs);
}
