// The guard against mass disappearance. A missing object may come back: a record was deleted by mistake,
// a filesystem is not mounted, the state of the runtime was wiped. So an absence is believed only after
// a delay. If so much is missing at once that a fault of the place is more likely than the loss of all
// of it, the delay is longer, or the absence is never believed. Each caller says how long the delay is,
// and this file keeps the time. Pure: time is an argument.
//
//   missing                           a few           so many that the place is doubted
//   ────────────────────────────────  ──────────────  ───────────────────────────────────────────────
//   records of the API                10 s            5 min, if more than half of the peers have none
//   records of a directory            at once         never, while there is no other record in it
//   network namespaces of pods        `releaseAfter`  12 times that, if none is left in the directory

export interface Absence {
  readonly sinceMs: number;
  /** How long it must last to be believed; Infinity if that does not help. */
  readonly waitMs: number;
}

/** All that is missing, by name. */
export type Absences = ReadonlyMap<string, Absence>;

export interface AbsencePlan {
  /** The names whose absence is believed. */
  readonly believed: readonly string[];
  /** All that is missing, also what is believed: it may be impossible to act on it now. */
  readonly absences: Absences;
  /** Time until the next absence is believed, if one will be. */
  readonly wakeInMs?: number;
}

/**
 * Decides which absences are believed.
 *
 * `missing`: the delay for each name that is missing now, in milliseconds; Infinity: not believed.
 * `before`: the absences of the last plan. An absence begins when it is seen first, and begins again
 * after it was interrupted.
 */
export function planAbsences(
  missing: ReadonlyMap<string, number>,
  before: Absences,
  nowMs: number,
): AbsencePlan {
  const absences = new Map<string, Absence>();
  const believed: string[] = [];
  let wakeInMs = Number.POSITIVE_INFINITY;
  for (const [name, waitMs] of missing) {
    const sinceMs = before.get(name)?.sinceMs ?? nowMs;
    absences.set(name, { sinceMs, waitMs });
    const leftMs = sinceMs + waitMs - nowMs;
    if (leftMs <= 0) believed.push(name);
    else wakeInMs = Math.min(wakeInMs, leftMs);
  }
  return { believed, absences, ...(Number.isFinite(wakeInMs) ? { wakeInMs } : {}) };
}
