// How a rewritten network is answered: at once where it is rare, ever more
// rarely where somebody does it each time.
import { describe, expect, test } from "bun:test";
import {
  type Backoff,
  isContested,
  longestPauseMs,
  nextAttempt,
  noBackoff,
  recordWrite,
  resetAfterMs,
  settleMs,
} from "../../src/install/backoff.ts";

/** Plays a time in which the network is taken from us `stolenAfterMs` after each write; returns when it was written, and the news. */
function play(stolenAfterMs: number, untilMs: number, begun: Backoff = noBackoff) {
  let patience = begun;
  let [isAsWanted, stolenAtMs] = [false, Number.POSITIVE_INFINITY];
  const written: number[] = [];
  const fights: boolean[] = [];
  for (let nowMs = 1_000_000; nowMs < 1_000_000 + untilMs; nowMs += 100) {
    if (nowMs >= stolenAtMs) [isAsWanted, stolenAtMs] = [false, Number.POSITIVE_INFINITY];
    const turn = nextAttempt(patience, isAsWanted, nowMs);
    patience = turn.backoff;
    if (fights.at(-1) !== isContested(patience)) fights.push(isContested(patience));
    if (turn.act) {
      patience = recordWrite(patience, nowMs);
      written.push(nowMs - 1_000_000);
      [isAsWanted, stolenAtMs] = [true, nowMs + stolenAfterMs];
    } else if (!isAsWanted) expect(turn.dueMs).toBeGreaterThan(nowMs);
  }
  return { written, fights, patience };
}

describe("rewritten", () => {
  test("once a month: each time at once, after the writer has settled", () => {
    const month = 30 * 86_400_000;
    let patience: Backoff = noBackoff;
    for (let i = 0; i < 12; i++) {
      const nowMs = i * month;
      const lost = nextAttempt(patience, false, nowMs);
      expect(lost).toMatchObject({ act: false, dueMs: nowMs + settleMs });
      const due = nextAttempt(lost.backoff, false, nowMs + settleMs);
      expect(due.act).toBe(true);
      expect(isContested(due.backoff)).toBe(false);
      patience = recordWrite(due.backoff, nowMs + settleMs);
      const rested = nextAttempt(patience, true, nowMs + settleMs + resetAfterMs);
      patience = rested.backoff;
    }
  });

  test("at once, each time: pauses double to the longest", () => {
    const { written, fights } = play(0, 3 * 3_600_000);
    const pauses = written.slice(1).map((at, i) => at - (written[i] as number));
    for (const [i, pause] of pauses.slice(0, 10).entries())
      expect(pause).toBeGreaterThanOrEqual(i === 0 ? settleMs : 1000 * 2 ** (i - 1));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(longestPauseMs + 1000);
    expect(pauses.at(-1)).toBeGreaterThanOrEqual(longestPauseMs);
    // Three hours of a fight are no thousands of writes.
    expect(written.length).toBeLessThan(30);
    expect(written.length).toBeGreaterThan(20);
    expect(fights).toEqual([false, true]);
  });

  test("five minutes after each write: no peace, so it is a fight as well", () => {
    expect(play(300_000, 4 * 3_600_000).fights).toEqual([false, true]);
  });

  test("a few times at once, as at a restart: no news, and later at once again", () => {
    const { patience, fights } = play(0, 4000);
    expect(fights).toEqual([false]);
    const later = 1_000_000 + 4000 + 2 * resetAfterMs;
    const rested = nextAttempt(patience, true, later);
    expect(rested.backoff.rewrites).toBe(0);
    expect(nextAttempt(rested.backoff, false, later + 1)).toMatchObject({ dueMs: later + 1 + settleMs });
  });

  test("a fight is over once peace holds", () => {
    const { patience } = play(0, 3_600_000);
    expect(isContested(patience)).toBe(true);
    const at = patience.wroteAtMs as number;
    const early = nextAttempt(patience, true, at + resetAfterMs - 1);
    expect(early).toMatchObject({ act: false, dueMs: at + resetAfterMs });
    expect(isContested(early.backoff)).toBe(true);
    const rested = nextAttempt(early.backoff, true, at + resetAfterMs);
    expect(isContested(rested.backoff)).toBe(false);
    expect(nextAttempt(rested.backoff, true, at + resetAfterMs + 1)).toEqual({
      backoff: rested.backoff,
      act: false,
    });
  });
});
