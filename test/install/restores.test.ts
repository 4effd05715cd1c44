// How a rewritten network is answered: at once where it is rare, ever more
// rarely where somebody does it each time.
import { describe, expect, test } from "bun:test";
import {
  isContested,
  longestPauseMs,
  nextAttempt,
  noRestores,
  type RestoreMemory,
  recordWrite,
  resetAfterMs,
  settleMs,
} from "../../src/install/restores.ts";

/** Plays a time in which the network is taken from us `stolenAfterMs` after each write; returns when it was written, and the news. */
function play(stolenAfterMs: number, untilMs: number, begun: RestoreMemory = noRestores) {
  let memory = begun;
  let [isAsWanted, stolenAtMs] = [false, Number.POSITIVE_INFINITY];
  const written: number[] = [];
  const fights: boolean[] = [];
  for (let nowMs = 1_000_000; nowMs < 1_000_000 + untilMs; nowMs += 100) {
    if (nowMs >= stolenAtMs) [isAsWanted, stolenAtMs] = [false, Number.POSITIVE_INFINITY];
    const turn = nextAttempt(memory, isAsWanted, nowMs);
    memory = turn.memory;
    if (fights.at(-1) !== isContested(memory)) fights.push(isContested(memory));
    if (turn.act) {
      memory = recordWrite(memory, nowMs);
      written.push(nowMs - 1_000_000);
      [isAsWanted, stolenAtMs] = [true, nowMs + stolenAfterMs];
    } else if (!isAsWanted) expect(turn.dueMs).toBeGreaterThan(nowMs);
  }
  return { written, fights, memory };
}

describe("rewritten", () => {
  test("once a month: each time at once, after the writer has settled", () => {
    const month = 30 * 86_400_000;
    let memory: RestoreMemory = noRestores;
    for (let i = 0; i < 12; i++) {
      const nowMs = i * month;
      const lost = nextAttempt(memory, false, nowMs);
      expect(lost).toMatchObject({ act: false, dueMs: nowMs + settleMs });
      const due = nextAttempt(lost.memory, false, nowMs + settleMs);
      expect(due.act).toBe(true);
      expect(isContested(due.memory)).toBe(false);
      memory = recordWrite(due.memory, nowMs + settleMs);
      const rested = nextAttempt(memory, true, nowMs + settleMs + resetAfterMs);
      memory = rested.memory;
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
    const { memory, fights } = play(0, 4000);
    expect(fights).toEqual([false]);
    const later = 1_000_000 + 4000 + 2 * resetAfterMs;
    const rested = nextAttempt(memory, true, later);
    expect(rested.memory.rewrites).toBe(0);
    expect(nextAttempt(rested.memory, false, later + 1)).toMatchObject({ dueMs: later + 1 + settleMs });
  });

  test("a fight is over once peace holds", () => {
    const { memory } = play(0, 3_600_000);
    expect(isContested(memory)).toBe(true);
    const at = memory.wroteAtMs as number;
    const early = nextAttempt(memory, true, at + resetAfterMs - 1);
    expect(early).toMatchObject({ act: false, dueMs: at + resetAfterMs });
    expect(isContested(early.memory)).toBe(true);
    const rested = nextAttempt(early.memory, true, at + resetAfterMs);
    expect(isContested(rested.memory)).toBe(false);
    expect(nextAttempt(rested.memory, true, at + resetAfterMs + 1)).toEqual({
      memory: rested.memory,
      act: false,
    });
  });
});
