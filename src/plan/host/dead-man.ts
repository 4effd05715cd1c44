// The dead-man switch of host encryption: hosts stay in the tunnel only if the control plane answers
// after they entered it. Pure: time and the answers are arguments; agent/control-plane.ts asks.
//
//              more goes into the tunnel,
//              or the control plane is named anew
//   ┌───────┐ ───────────────────────────────────► ┌───────┐ ◄─┐ more still: the answer
//   │ quiet │                                      │ trial │ ──┘ must come after it
//   └───────┘ ◄─────────────────────────────────── └───────┘
//       ▲  an address answered: from here on         │   ▲
//       │  silence says nothing about us             │   │
//       │                 a whole timeout without    │   │
//       │                 an answer: take it back    ▼   │
//       │ answers within 15 s:             ┌───────────┐ │ answers: once more,
//       │ it was the cause, and stays off  │   taken   │ │ and only once
//       └───────────────────────────────── │   back    │ │
//         until an operator changes it     └───────────┘ │
//                                             │ silent still: it was not the cause
//                                             ▼          │
//                                          ┌─────────┐   │
//                                          │ waiting │ ──┘
//                                          └─────────┘
//
// Taking host encryption back does not help if the control plane is down itself. The agent does it all
// the same, because it does not know the cause. If it did not help, the agent finds that out afterwards,
// so that a cluster whose nodes start before their control plane is encrypted again without an operator.

/** The hosts in the tunnel, the exemptions, and the addresses that are asked. */
export interface Extent {
  /** Addresses of other nodes that this node reaches through the tunnel; empty if host encryption does not hold. */
  readonly hosts: ReadonlySet<string>;
  /** Exemptions from host encryption. */
  readonly outside: readonly string[];
  readonly controlPlane: readonly string[];
}

export interface DeadManFacts {
  /** The extent that is programmed now. */
  readonly extent: Extent;
  readonly timeoutMs: number;
  /** The value as the store has it. */
  readonly revert: "none" | "final" | "until-answer";
  /** The start of the last attempt that was answered. */
  readonly answeredAtMs?: number;
}

/** The memory between two passes. It need not survive a restart, which begins a new trial. */
export interface DeadManMemory {
  readonly extent: Extent;
  readonly trial?: Trial;
  /** The time at which it was taken back; absent once it is known if that helped. */
  readonly revertedAtMs?: number;
  readonly waitingSinceMs?: number;
  /** True if it was taken back in vain, and no answer has come since. */
  readonly retried: boolean;
}

interface Trial {
  /** The time since which no attempt was answered. */
  readonly sinceMs: number;
  /** The time at which hosts last entered the tunnel: earlier answers do not count. */
  readonly lastMs: number;
}

/** The caller writes `reverted`, `waiting` and `retried` to the store. `ended`: an operator ended it. */
export type DeadManEvent = "began" | "answered" | "ended" | "reverted" | "caused" | "waiting" | "retried";

export interface DeadManDecision {
  readonly memory: DeadManMemory;
  readonly event?: DeadManEvent;
  /** The pause between questions to the control plane; absent if it is not asked. */
  readonly askEveryMs?: number;
  /** The time of the next pass at the latest. */
  readonly dueMs?: number;
}

const askMs = 1000;
/** The pause while nothing is at risk and the wait may take hours. */
const waitingAskMs = 10_000;
/** The pause is enough to ask three addresses, each of which takes three seconds if it is silent. */
const causeMs = 15_000;

const nothing: Extent = { hosts: new Set(), outside: [], controlPlane: [] };
/** The empty extent: whatever enters the tunnel next is more than this. */
const concluded: DeadManMemory = { extent: nothing, retried: false };

export function stepDeadMan(
  facts: DeadManFacts,
  memory: DeadManMemory = concluded,
  nowMs: number,
): DeadManDecision {
  const { extent, revert } = facts;
  if (extent.controlPlane.length === 0) return { memory: { extent, retried: memory.retried } };
  switch (revert) {
    case "none":
      return stepTrial(facts, memory, nowMs);
    case "final":
      return stepReverted(facts, memory, nowMs);
    case "until-answer":
      return stepWaiting(facts, memory, nowMs);
  }
}

function stepTrial(facts: DeadManFacts, memory: DeadManMemory, nowMs: number): DeadManDecision {
  const { extent, timeoutMs, answeredAtMs = Number.NEGATIVE_INFINITY } = facts;
  const { retried } = memory;
  if (extent.hosts.size === 0)
    return { memory: { extent, retried }, ...(memory.extent.hosts.size === 0 ? {} : { event: "ended" }) };
  const wider = isWider(extent, memory.extent);
  const trial = wider ? { sinceMs: nowMs, ...memory.trial, lastMs: nowMs } : memory.trial;
  if (trial === undefined) return { memory: { extent, retried } };
  if (answeredAtMs >= trial.lastMs) return { memory: { extent, retried: false }, event: "answered" };
  // An answer from before the last change is about the hosts that were in the tunnel by then.
  const sinceMs = Math.max(trial.sinceMs, answeredAtMs);
  const dueMs = sinceMs + timeoutMs;
  if (nowMs >= dueMs) return takeBack(memory, nowMs);
  const began = memory.trial === undefined ? { event: "began" as const } : {};
  return { memory: { extent, trial: { ...trial, sinceMs }, retried }, ...began, askEveryMs: askMs, dueMs };
}

function takeBack({ retried }: DeadManMemory, nowMs: number): DeadManDecision {
  // The second time is the last: else a node would be cut off again and again.
  if (retried) return { memory: concluded, event: "reverted" };
  return {
    memory: { ...concluded, revertedAtMs: nowMs },
    ...{ event: "reverted", askEveryMs: askMs, dueMs: nowMs + causeMs },
  };
}

function stepReverted(facts: DeadManFacts, memory: DeadManMemory, nowMs: number): DeadManDecision {
  const { revertedAtMs } = memory;
  // Taken back by an earlier process, for the second time, or with a known cause.
  if (revertedAtMs === undefined) return { memory: concluded };
  if ((facts.answeredAtMs ?? Number.NEGATIVE_INFINITY) >= revertedAtMs)
    return { memory: concluded, event: "caused" };
  const dueMs = revertedAtMs + causeMs;
  if (nowMs < dueMs) return { memory: { ...concluded, revertedAtMs }, askEveryMs: askMs, dueMs };
  return {
    memory: { ...concluded, waitingSinceMs: nowMs },
    ...{ event: "waiting", askEveryMs: waitingAskMs },
  };
}

function stepWaiting(facts: DeadManFacts, memory: DeadManMemory, nowMs: number): DeadManDecision {
  const { waitingSinceMs = nowMs } = memory;
  if ((facts.answeredAtMs ?? Number.NEGATIVE_INFINITY) >= waitingSinceMs)
    return { memory: { extent: nothing, retried: true }, event: "retried" };
  return { memory: { ...concluded, waitingSinceMs }, askEveryMs: waitingAskMs };
}

function isWider(now: Extent, before: Extent): boolean {
  if (now === before) return false;
  if (now.controlPlane.join() !== before.controlPlane.join()) return true;
  if (before.outside.some((one) => !now.outside.includes(one))) return true;
  for (const host of now.hosts) if (!before.hosts.has(host)) return true;
  return false;
}
