// Judges whether the agent is alive and the node ready: one sentence each, for probes
// and their readers. Pure.

export interface LoopFacts {
  /** Milliseconds since the last reconcile pass ended, or since the start if there was none. */
  readonly sinceMs: number;
  readonly hasReconciled: boolean;
  readonly resyncMs: number;
  /** Why the mesh is not as the store says. */
  readonly problem?: string;
  /** A sentence if the agent has lost the file of its store. */
  readonly storeProblem?: string;
}

export interface HealthVerdict {
  readonly ok: boolean;
  /** "ok", or what is wrong. */
  readonly text: string;
}

/** After so many resync periods without a pass, the loop has stopped. */
const missedResyncs = 3;
const fine: HealthVerdict = { ok: true, text: "ok" };

/** Judges whether a restart of the agent would help; it does not if the mesh cannot be programmed. */
export function judgeLiveness({ sinceMs, hasReconciled, resyncMs, storeProblem }: LoopFacts): HealthVerdict {
  if (storeProblem !== undefined) return { ok: false, text: storeProblem };
  if (sinceMs <= missedResyncs * resyncMs) return fine;
  const seconds = Math.round(sinceMs / 1000);
  const last = hasReconciled ? `last reconciled ${seconds} s ago` : `has not reconciled once in ${seconds} s`;
  return {
    ok: false,
    text: `The agent ${last}, though it should every ${resyncMs / 1000} s: its loop has stopped. Restart it and report this.`,
  };
}

/** Judges whether the mesh is as the store says. */
export function judgeReadiness(loop: LoopFacts): HealthVerdict {
  const alive = judgeLiveness(loop);
  if (!alive.ok) return alive;
  if (!loop.hasReconciled)
    return { ok: false, text: "The agent has just started and has not reconciled yet." };
  return loop.problem === undefined ? fine : { ok: false, text: loop.problem };
}
