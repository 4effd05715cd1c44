import { expect, test } from "bun:test";
import { judgeLiveness, judgeReadiness, type LoopFacts } from "../../src/telemetry/health.ts";

const loop = { sinceMs: 5000, hasReconciled: true, resyncMs: 60_000 };

const cases: readonly [string, LoopFacts, string, string][] = [
  ["a look a moment ago", loop, "ok", "ok"],
  [
    "just started",
    { ...loop, hasReconciled: false },
    "ok",
    "The agent has just started and has not reconciled yet.",
  ],
  ["a problem stands", { ...loop, problem: "Cannot add route: EPERM" }, "ok", "Cannot add route: EPERM"],
  ["two resyncs missed", { ...loop, sinceMs: 179_000 }, "ok", "ok"],
  [
    "three resyncs missed",
    { ...loop, sinceMs: 181_000 },
    "The agent last reconciled 181 s ago, though it should every 60 s: its loop has stopped. Restart it and report this.",
    "The agent last reconciled 181 s ago, though it should every 60 s: its loop has stopped. Restart it and report this.",
  ],
  [
    "never came to a look, and what stands says less than that",
    { ...loop, sinceMs: 181_000, hasReconciled: false, problem: "x" },
    "The agent has not reconciled once in 181 s, though it should every 60 s: its loop has stopped. Restart it and report this.",
    "The agent has not reconciled once in 181 s, though it should every 60 s: its loop has stopped. Restart it and report this.",
  ],
  [
    "the file of the store is gone",
    { ...loop, storeProblem: "state.db was removed. Restart the agent." },
    "state.db was removed. Restart the agent.",
    "state.db was removed. Restart the agent.",
  ],
];

for (const [name, facts, live, ready] of cases)
  test(name, () => {
    expect(judgeLiveness(facts)).toEqual({ ok: live === "ok", text: live });
    expect(judgeReadiness(facts)).toEqual({ ok: ready === "ok", text: ready });
  });
