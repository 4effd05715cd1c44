// The dead-man switch as a table: what happened at which second, and what follows.
import { describe, expect, test } from "bun:test";
import {
  type DeadManDecision,
  type DeadManFacts,
  type DeadManMemory,
  type Extent,
  stepDeadMan,
} from "../../../src/plan/host/dead-man.ts";

const s = 1000;
/** Well after the process began. */
const start = 1_000_000;

const one = extent(["192.0.2.2"]);
const two = extent(["192.0.2.2", "192.0.2.3"]);
const none = extent([]);

function extent(hosts: string[], change: Partial<Extent> = {}): Extent {
  const controlPlane = ["192.0.2.1:6443"];
  return { hosts: new Set(hosts), outside: ["tcp/22", ...controlPlane], controlPlane, ...change };
}

interface Moment {
  /** Seconds after the start. */
  readonly at: number;
  readonly extent?: Extent;
  /** Seconds at which the last answered try had begun. */
  readonly answered?: number;
  readonly revert?: DeadManFacts["revert"];
  readonly says: string;
}

/** Formats the important parts of a decision in one line. */
function say({ event, askEveryMs, dueMs }: DeadManDecision): string {
  const words = [event ?? "nothing"];
  if (askEveryMs !== undefined) words.push(`ask every ${askEveryMs / s} s`);
  if (dueMs !== undefined) words.push(`due ${(dueMs - start) / s}`);
  return words.join(", ");
}

/** The store has the decision at the next moment, unless the row says otherwise. */
function play(moments: readonly Moment[]): void {
  let memory: DeadManMemory | undefined;
  let revert: DeadManFacts["revert"] = "none";
  let extent = none;
  let answered: number | undefined;
  for (const moment of moments) {
    revert = moment.revert ?? revert;
    extent = moment.extent ?? extent;
    answered = moment.answered ?? answered;
    const answeredAt = answered === undefined ? {} : { answeredAtMs: start + answered * s };
    const facts = { extent, revert, timeoutMs: 60 * s, ...answeredAt };
    const decision = stepDeadMan(facts, memory, start + moment.at * s);
    expect(say(decision), `at ${moment.at} s`).toBe(moment.says);
    memory = decision.memory;
    if (decision.event === "reverted") [revert, extent] = ["final", none];
    if (decision.event === "waiting") revert = "until-answer";
    if (decision.event === "retried") revert = "none";
  }
}

const trial = "began, ask every 1 s, due 60";
const asking = "nothing, ask every 1 s, due 60";

const table: [string, Moment[]][] = [
  ["nothing is in the tunnel: no address is asked", [{ at: 0, says: "nothing" }]],
  [
    "an answer after the change confirms it, whatever comes later",
    [
      { at: 0, extent: one, says: trial },
      { at: 1, answered: 0, says: "answered" },
      { at: 3600, says: "nothing" },
    ],
  ],
  [
    "an answer to a try from before the change does not count",
    [
      { at: 0, extent: one, answered: -1, says: trial },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
    ],
  ],
  [
    "without an answer it is taken back when the time is over, not before",
    [
      { at: 0, extent: one, says: trial },
      { at: 59.9, says: asking },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
    ],
  ],
  [
    "one host more, later: a new trial",
    [
      { at: 0, extent: one, says: trial },
      { at: 1, answered: 0, says: "answered" },
      { at: 100, extent: two, says: "began, ask every 1 s, due 160" },
      { at: 160, says: "reverted, ask every 1 s, due 175" },
    ],
  ],
  [
    "one host less is no trial",
    [
      { at: 0, extent: two, says: trial },
      { at: 1, answered: 0, says: "answered" },
      { at: 100, extent: one, says: "nothing" },
      { at: 200, extent: none, says: "ended" },
      { at: 201, says: "nothing" },
    ],
  ],
  [
    "hosts that keep coming do not put off the end of a trial without an answer",
    [
      { at: 0, extent: one, says: trial },
      { at: 50, extent: two, says: asking },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
    ],
  ],
  [
    "an answer between two hosts counts for the first: the second has its own time",
    [
      { at: 0, extent: one, says: trial },
      { at: 50, extent: two, answered: 40, says: "nothing, ask every 1 s, due 100" },
      { at: 99, says: "nothing, ask every 1 s, due 100" },
      { at: 100, says: "reverted, ask every 1 s, due 115" },
    ],
  ],
  [
    "what was exempt and is not any more is a change, the other way round is none",
    [
      { at: 0, extent: one, says: trial },
      { at: 1, answered: 0, says: "answered" },
      { at: 100, extent: { ...one, outside: ["tcp/22", "tcp/23", ...one.controlPlane] }, says: "nothing" },
      { at: 200, extent: one, says: "began, ask every 1 s, due 260" },
    ],
  ],
  [
    "a control plane that is named later is asked then",
    [
      { at: 0, extent: { ...one, controlPlane: [] }, says: "nothing" },
      { at: 100, extent: one, says: "began, ask every 1 s, due 160" },
    ],
  ],
  [
    "a trial ends with host encryption, or with the control plane's name",
    [
      { at: 0, extent: one, says: trial },
      { at: 10, extent: none, says: "ended" },
      { at: 20, extent: one, says: "began, ask every 1 s, due 80" },
      { at: 30, extent: { ...one, controlPlane: [] }, says: "nothing" },
      { at: 100, says: "nothing" },
    ],
  ],
  [
    "it helped: it was the cause, and stays off",
    [
      { at: 0, extent: one, says: trial },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
      { at: 61, answered: 60.5, says: "caused" },
      { at: 3600, answered: 3599, says: "nothing" },
    ],
  ],
  [
    "it did not help: it waits for the answer, and is tried once more",
    [
      { at: 0, extent: one, says: trial },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
      { at: 74, says: "nothing, ask every 1 s, due 75" },
      { at: 75, says: "waiting, ask every 10 s" },
      { at: 3000, says: "nothing, ask every 10 s" },
      { at: 3600, answered: 3599, says: "retried" },
      { at: 3600, extent: one, says: "began, ask every 1 s, due 3660" },
      { at: 3601, answered: 3600, says: "answered" },
    ],
  ],
  [
    "the second time it is final: a node is not cut off again and again",
    [
      { at: 0, extent: one, says: trial },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
      { at: 75, says: "waiting, ask every 10 s" },
      { at: 100, answered: 99, says: "retried" },
      { at: 100, extent: one, says: "began, ask every 1 s, due 160" },
      { at: 160, says: "reverted" },
      { at: 161, answered: 160.5, says: "nothing" },
    ],
  ],
  [
    "an operator's word begins anew, with all its chances",
    [
      { at: 0, extent: one, says: trial },
      { at: 60, says: "reverted, ask every 1 s, due 75" },
      { at: 61, answered: 60.5, says: "caused" },
      { at: 100, revert: "none", extent: one, says: "began, ask every 1 s, due 160" },
      { at: 160, says: "reverted, ask every 1 s, due 175" },
      { at: 175, says: "waiting, ask every 10 s" },
    ],
  ],
  [
    "a restarted agent begins a new trial, and asks on where it waited",
    [
      { at: 0, extent: none, revert: "until-answer", says: "nothing, ask every 10 s" },
      { at: 5, answered: 4, says: "retried" },
    ],
  ],
  ["a restarted agent leaves alone what was taken back", [{ at: 0, revert: "final", says: "nothing" }]],
];

describe("dead-man switch", () => {
  test.each(table)("%s", (_name, moments) => play(moments));

  test("whatever happens, nothing unanswered stays in the tunnel for longer than the time", () => {
    for (let seed = 1; seed <= 300; seed++)
      expect(longestUnanswered(seed), `seed ${seed}`).toBeLessThan(62 * s);
  });
});

/** Hosts come and go at random, answers come at random: how long something was in the tunnel without an answer. */
function longestUnanswered(seed: number): number {
  let state = seed * 7919;
  const random = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
  let memory: DeadManMemory | undefined;
  let hosts = new Set<string>();
  let answeredAtMs: number | undefined;
  const sinceMs = new Map<string, number>();
  let longest = 0;
  for (let nowMs = start; nowMs < start + 1000 * s; nowMs += s) {
    if (random() < 0.05) hosts = new Set([...hosts, `host ${Math.floor(random() * 50)}`]);
    if (random() < 0.02) hosts = new Set([...hosts].slice(1));
    for (const host of hosts) if (!sinceMs.has(host)) sinceMs.set(host, nowMs);
    for (const host of sinceMs.keys()) if (!hosts.has(host)) sinceMs.delete(host);
    if (random() < 0.01) {
      answeredAtMs = nowMs - Math.floor(random() * 3) * s;
      for (const [host, since] of sinceMs)
        if (since <= answeredAtMs) sinceMs.set(host, Number.POSITIVE_INFINITY);
    }
    const answered = answeredAtMs === undefined ? {} : { answeredAtMs };
    const facts = { extent: extent([...hosts]), revert: "none" as const, timeoutMs: 60 * s, ...answered };
    const decision = stepDeadMan(facts, memory, nowMs);
    memory = decision.memory;
    if (decision.event === "reverted") {
      hosts = new Set();
      sinceMs.clear();
    }
    for (const since of sinceMs.values()) longest = Math.max(longest, nowMs - since);
  }
  return longest;
}
