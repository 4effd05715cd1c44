// The dead-man switch of host encryption: what goes into the tunnel stays there
// only if the control plane answers afterwards. Pure: time and what was heard are
// arguments; tries are made by agent/control-plane.ts.
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
//         till an operator says otherwise  └───────────┘ │
//                                             │ silent still: it was not the cause
//                                             ▼          │
//                                          ┌─────────┐   │
//                                          │ waiting │ ──┘
//                                          └─────────┘
//
// Taking back may not help, if the control plane is down itself. It is done
// all the same, because the cause is not known before. If it did not help, that is found out after,
// so that a cluster whose nodes come up ahead of their control plane is encrypted
// again without an operator.

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
  /** When the last try that was answered had begun. */
  readonly answeredAtMs?: number;
}

/** Nothing of it must survive a restart: that begins a new trial. */
export interface DeadManMemory {
  readonly extent: Extent;
  readonly trial?: Trial;
  /** When it was taken back, while it is not known whether that helped. */
  readonly revertedAtMs?: number;
  readonly waitingSinceMs?: number;
  /** It had been taken back without doing any good, and was not answered since. */
  readonly retried: boolean;
}

interface Trial {
  /** Since when no try was answered. */
  readonly sinceMs: number;
  /** When something went into the tunnel last: earlier answers do not count. */
  readonly lastMs: number;
}

/** The caller writes `reverted`, `waiting` and `retried` to the store. `ended`: an operator wanted it. */
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
/** Enough to ask three addresses, each of which takes three seconds when it is silent. */
const causeMs = 15_000;

const nothing: Extent = { hosts: new Set(), outside: [], controlPlane: [] };
/** Whatever goes into the tunnel next is more than now. */
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
  // An answer from before the last change speaks for what was in the tunnel by then.
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
