// Is the agent alive, and is the node ready: one sentence each, for probes and
// for the person who reads them. Pure.

export interface LoopFacts {
  /** Milliseconds since the last look ended; since the start where there was none. */
  readonly sinceMs: number;
  readonly looked: boolean;
  readonly resyncMs: number;
  /** Why the mesh is not as the store says. */
  readonly problem?: string;
}

export interface HealthVerdict {
  readonly ok: boolean;
  /** "ok", or what is wrong. */
  readonly text: string;
}

/** So many resyncs without a look, and the loop has stopped. */
const missedResyncs = 3;
const fine: HealthVerdict = { ok: true, text: "ok" };

/** Whether restarting the agent would help: a mesh that cannot be programmed is no reason for that. */
export function judgeLiveness({ sinceMs, looked, resyncMs }: LoopFacts): HealthVerdict {
  if (sinceMs <= missedResyncs * resyncMs) return fine;
  const seconds = Math.round(sinceMs / 1000);
  const last = looked ? `last looked ${seconds} s ago` : `has not looked once in ${seconds} s`;
  return {
    ok: false,
    text: `The agent ${last}, though it should every ${resyncMs / 1000} s: its loop has stopped. Restart it and report this.`,
  };
}

/** Whether the mesh is as the store says. */
export function judgeReadiness(loop: LoopFacts): HealthVerdict {
  const alive = judgeLiveness(loop);
  if (!alive.ok) return alive;
  if (!loop.looked) return { ok: false, text: "The agent has just started and has not looked yet." };
  return loop.problem === undefined ? fine : { ok: false, text: loop.problem };
}
