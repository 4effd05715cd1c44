// The budgets of the plugin: times of a reference plugin in the same run, at most. A limit is what
// `--enforce` holds: the budget with a margin for a noisy machine, or, if the budget cannot be
// held yet, a bound on what there is, with the floor that stops it.
import type { Contender, Verb } from "./samples.ts";

export interface Budget {
  readonly verb: Verb;
  readonly contender: Contender;
  /** Whose median the budget is a multiple of. */
  readonly against: { readonly verb: Verb; readonly contender: Contender };
  readonly times: number;
  readonly limit: number;
  readonly floor?: Floor;
}

/** What stops a budget. */
export interface Floor {
  /** A clause that says why the budget is not held. */
  readonly why: string;
  /** Measured in the same run: no call is faster than these. */
  readonly atLeast: readonly Pick<Budget, "verb" | "contender">[];
}

/** Two runs on one machine differ by a tenth, or by a fifth if it is busy. */
const margin = 1.2;

const emptyProgram = { verb: "VERSION", contender: "empty program" } as const;
/** It starts, asks the plugin server, and is answered at once. */
const emptyCall = { verb: "STATUS", contender: "wg-cni" } as const;
const start: Floor = {
  why: "the start of the engine takes as long as the whole call of the other",
  atLeast: [emptyProgram],
};
const startOfCall: Floor = { ...start, atLeast: [emptyProgram, emptyCall] };
const startAndPod: Floor = {
  why: "what a call that is answered at once leaves is less than a link, its addresses, routes and sysctls of both families take",
  atLeast: [emptyProgram, emptyCall],
};
const against = (verb: Verb, contender: Contender) => ({ against: { verb, contender } });
const held = (times: number) => ({ times, limit: times * margin });
const bounded = (times: number, limit: number, floor: Floor) => ({ times, limit, floor });

export const budgets: readonly Budget[] = [
  { verb: "ADD", contender: "wg-cni", ...against("ADD", "ptp"), ...bounded(0.8, 1.2, startAndPod) },
  { verb: "ADD", contender: "wg-cni chained", ...against("ADD", "tuning"), ...bounded(2, 3, startOfCall) },
  { verb: "DEL", contender: "wg-cni", ...against("DEL", "ptp"), ...held(1) },
  { verb: "DEL", contender: "wg-cni chained", ...against("DEL", "tuning"), ...bounded(2, 3, startOfCall) },
  { verb: "CHECK", contender: "wg-cni", ...against("CHECK", "ptp"), ...bounded(1, 1.4, startOfCall) },
  {
    verb: "CHECK",
    contender: "wg-cni chained",
    ...against("CHECK", "tuning"),
    ...bounded(2, 3, startOfCall),
  },
  { verb: "VERSION", contender: "wg-cni", ...against("VERSION", "ptp"), ...held(2) },
  { verb: "VERSION", contender: "wg-cni", ...against("VERSION", "cilium-cni"), ...held(1) },
  { verb: "STATUS", contender: "wg-cni", ...against("VERSION", "ptp"), ...bounded(2.2, 3.3, start) },
];

/** Of bursts, against ptp's. */
export const burstBudgets: Readonly<Record<"ADD" | "DEL", Pick<Budget, "times" | "limit" | "floor">>> = {
  ADD: held(0.8),
  DEL: held(0.9),
};

/** Of a cold start, in milliseconds; never enforced, because it measures the disk more than the program. */
export const coldStartBudget = {
  milliseconds: 40,
  floor: {
    why: "page faults fetch most of an executable of 117 MB, as much at once as the disk's read-ahead says, so the installer and the agent keep it in memory",
    atLeast: [{ verb: "cold start", contender: "empty program" }],
  } satisfies Floor,
};
