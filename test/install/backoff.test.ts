// How a rewritten network is answered: at once where it is rare, ever more
// rarely where somebody does it each time.
import { describe, expect, test } from "bun:test";
import {
  isFight,
  longestPauseMs,
  type Patience,
  patient,
  peaceMs,
  settleMs,
  takeTurn,
  wrote,
} from "../../src/install/backoff.ts";

/** Plays a time in which the network is taken from us `stolenAfterMs` after each write; returns when it was written, and the news. */
function play(stolenAfterMs: number, untilMs: number, begun: Patience = patient) {
  let patience = begun;
  let [isAsWanted, stolenAtMs] = [false, Number.POSITIVE_INFINITY];
  const written: number[] = [];
  const fights: boolean[] = [];
  for (let nowMs = 1_000_000; nowMs < 1_000_000 + untilMs; nowMs += 100) {
    if (nowMs >= stolenAtMs) [isAsWanted, stolenAtMs] = [false, Number.POSITIVE_INFINITY];
    const turn = takeTurn(patience, isAsWanted, nowMs);
    patience = turn.patience;
    if (fights.at(-1) !== isFight(patience)) fights.push(isFight(patience));
    if (turn.act) {
      patience = wrote(patience, nowMs);
      written.push(nowMs - 1_000_000);
      [isAsWanted, stolenAtMs] = [true, nowMs + stolenAfterMs];
    } else if (!isAsWanted) expect(turn.dueMs).toBeGreaterThan(nowMs);
  }
  return { written, fights, patience };
}

describe("rewritten", () => {
  test("once a month: each time at once, after the writer has settled", () => {
    const month = 30 * 86_400_000;
    let patience: Patience = patient;
    for (let i = 0; i < 12; i++) {
      const nowMs = i * month;
      const lost = takeTurn(patience, false, nowMs);
      expect(lost).toMatchObject({ act: false, dueMs: nowMs + settleMs });
      const due = takeTurn(lost.patience, false, nowMs + settleMs);
      expect(due.act).toBe(true);
      expect(isFight(due.patience)).toBe(false);
      patience = wrote(due.patience, nowMs + settleMs);
      const rested = takeTurn(patience, true, nowMs + settleMs + peaceMs);
      patience = rested.patience;
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
    const later = 1_000_000 + 4000 + 2 * peaceMs;
    const rested = takeTurn(patience, true, later);
    expect(rested.patience.answers).toBe(0);
    expect(takeTurn(rested.patience, false, later + 1)).toMatchObject({ dueMs: later + 1 + settleMs });
  });

  test("a fight is over once peace holds", () => {
    const { patience } = play(0, 3_600_000);
    expect(isFight(patience)).toBe(true);
    const at = patience.wroteAtMs as number;
    const early = takeTurn(patience, true, at + peaceMs - 1);
    expect(early).toMatchObject({ act: false, dueMs: at + peaceMs });
    expect(isFight(early.patience)).toBe(true);
    const rested = takeTurn(early.patience, true, at + peaceMs);
    expect(isFight(rested.patience)).toBe(false);
    expect(takeTurn(rested.patience, true, at + peaceMs + 1)).toEqual({
      patience: rested.patience,
      act: false,
    });
  });
});
