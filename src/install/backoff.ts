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
export const peaceMs = 900_000;
/** Rewritten so often in one episode, it is no coincidence. */
const fightAt = 5;

/** What is remembered of the network in use. */
export interface Patience {
  /** Times that it was written again in this episode. */
  readonly answers: number;
  /** When we wrote it last; absent where we never did. */
  readonly wroteAtMs?: number;
  /** Since when it is not as wanted; absent where it is. */
  readonly lostAtMs?: number;
}

export const patient: Patience = { answers: 0 };

export interface Turn {
  readonly patience: Patience;
  /** Write it now; `wrote` is to be called then. */
  readonly act: boolean;
  /** When to look again. */
  readonly dueMs?: number;
}

/** True from the time that it is no coincidence any more until there is peace. */
export function isFight({ answers }: Patience): boolean {
  return answers >= fightAt;
}

/** `isAsWanted`: the network is as it should be. */
export function takeTurn(before: Patience, isAsWanted: boolean, nowMs: number): Turn {
  return isAsWanted ? rest(before, nowMs) : answer(before, nowMs);
}

/** After it was written, which is an answer where it had been written before. */
export function wrote(before: Patience, nowMs: number): Patience {
  return { answers: before.wroteAtMs === undefined ? 0 : before.answers + 1, wroteAtMs: nowMs };
}

function rest({ lostAtMs: _, ...patience }: Patience, nowMs: number): Turn {
  if (patience.answers === 0 || patience.wroteAtMs === undefined) return { patience, act: false };
  const endMs = patience.wroteAtMs + peaceMs;
  if (nowMs < endMs) return { patience, act: false, dueMs: endMs };
  return { patience: { ...patience, answers: 0 }, act: false };
}

function answer(before: Patience, nowMs: number): Turn {
  const lostAtMs = before.lostAtMs ?? nowMs;
  const patience = { ...before, lostAtMs };
  const dueMs = Math.max(lostAtMs + settleMs, (before.wroteAtMs ?? 0) + pauseMs(before));
  return nowMs >= dueMs ? { patience, act: true } : { patience, act: false, dueMs };
}

function pauseMs({ answers, wroteAtMs }: Patience): number {
  if (wroteAtMs === undefined || answers === 0) return 0;
  return Math.min(firstPauseMs * 2 ** (answers - 1), longestPauseMs);
}
