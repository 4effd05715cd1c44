// When nextAttempt restores a network configuration that another program rewrites.
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

/** Simulates a program that removes our entry `removedAfterMs` after each write. Returns when we wrote, and when the file became contested or settled. */
function play(removedAfterMs: number, untilMs: number, begun: RestoreMemory = noRestores) {
  let memory = begun;
  let [isAsWanted, removedAtMs] = [false, Number.POSITIVE_INFINITY];
  const written: number[] = [];
  const contested: boolean[] = [];
  for (let nowMs = 1_000_000; nowMs < 1_000_000 + untilMs; nowMs += 100) {
    if (nowMs >= removedAtMs) [isAsWanted, removedAtMs] = [false, Number.POSITIVE_INFINITY];
    const turn = nextAttempt(memory, isAsWanted, nowMs);
    memory = turn.memory;
    if (contested.at(-1) !== isContested(memory)) contested.push(isContested(memory));
    if (turn.act) {
      memory = recordWrite(memory, nowMs);
      written.push(nowMs - 1_000_000);
      [isAsWanted, removedAtMs] = [true, nowMs + removedAfterMs];
    } else if (!isAsWanted) expect(turn.dueMs).toBeGreaterThan(nowMs);
  }
  return { written, contested, memory };
}

describe("nextAttempt", () => {
  test("restores a file that is rewritten once a month as soon as the writer has settled", () => {
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

  test("doubles the pauses up to the longest if the file is rewritten at once each time", () => {
    const { written, contested } = play(0, 3 * 3_600_000);
    const pauses = written.slice(1).map((at, i) => at - (written[i] as number));
    for (const [i, pause] of pauses.slice(0, 10).entries())
      expect(pause).toBeGreaterThanOrEqual(i === 0 ? settleMs : 1000 * 2 ** (i - 1));
    expect(Math.max(...pauses)).toBeLessThanOrEqual(longestPauseMs + 1000);
    expect(pauses.at(-1)).toBeGreaterThanOrEqual(longestPauseMs);
    // Three hours must not cost thousands of writes.
    expect(written.length).toBeLessThan(30);
    expect(written.length).toBeGreaterThan(20);
    expect(contested).toEqual([false, true]);
  });

  test("calls a file contested if it is rewritten five minutes after each write", () => {
    expect(play(300_000, 4 * 3_600_000).contested).toEqual([false, true]);
  });

  test("calls a file settled that is rewritten a few times, as at a restart, and forgets that later", () => {
    const { memory, contested } = play(0, 4000);
    expect(contested).toEqual([false]);
    const later = 1_000_000 + 4000 + 2 * resetAfterMs;
    const rested = nextAttempt(memory, true, later);
    expect(rested.memory.rewrites).toBe(0);
    expect(nextAttempt(rested.memory, false, later + 1)).toMatchObject({ dueMs: later + 1 + settleMs });
  });

  test("calls a contested file settled after a time without a rewrite", () => {
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
