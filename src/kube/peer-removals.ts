// Peers whose objects are gone: when they leave. An object that is deleted by
// mistake comes back, because its node writes it again at once; one that goes
// with its Node does not. So its peer leaves a while later, and one whose object
// has come back has never been away. Where most are gone, it is more likely that
// somebody deleted the resource or restored an old state than that the nodes are
// gone, and then each has the longer time to come back. Pure: time is an argument.
//
//   gone                  leaves after
//   ────────────────────  ─────────────
//   a few                 10 s
//   more than half of >1  5 min
//   while the API cannot be watched: never; the time begins anew
import { countOf } from "../net/human-format.ts";

export const removalWaitMs = 10_000;
export const massRemovalWaitMs = 300_000;

export interface Absence {
  readonly sinceMs: number;
  readonly waitMs: number;
}

/** By name, those who are gone and stay for now. */
export type Absences = ReadonlyMap<string, Absence>;

export interface PeerRemovalFacts {
  /** Peers that came from the API. */
  readonly known: ReadonlySet<string>;
  readonly isPresent: (name: string) => boolean;
  /** As the last plan has it. */
  readonly absences: Absences;
  /** Milliseconds of a clock that only goes forward. */
  readonly nowMs: number;
}

export interface PeerRemovalPlan {
  readonly remove: readonly string[];
  readonly absences: Absences;
  /** When the next of them leaves. */
  readonly wakeInMs?: number;
  /** A sentence, where so many are gone that it is not believed yet. */
  readonly doubt?: string;
}

export function planPeerRemovals({ known, isPresent, absences, nowMs }: PeerRemovalFacts): PeerRemovalPlan {
  const gone = [...known].filter((name) => !isPresent(name));
  const isMany = gone.length > 1 && 2 * gone.length > known.size;
  const staying = new Map<string, Absence>();
  const remove: string[] = [];
  for (const name of gone) {
    const { sinceMs, waitMs } = absences.get(name) ?? { sinceMs: nowMs, waitMs: removalWaitMs };
    const absence = { sinceMs, waitMs: isMany ? massRemovalWaitMs : waitMs };
    if (nowMs - sinceMs < absence.waitMs) staying.set(name, absence);
    else remove.push(name);
  }
  const leaveInMs = Array.from(staying.values(), ({ sinceMs, waitMs }) => sinceMs + waitMs - nowMs);
  return {
    remove,
    absences: staying,
    ...(staying.size === 0 ? {} : { wakeInMs: Math.min(...leaveInMs) }),
    ...(isMany && staying.size > 0 ? { doubt: explainDoubt(staying.size, known.size) } : {}),
  };
}

function explainDoubt(gone: number, known: number): string {
  return `The Kubernetes API has no WireGuardNode, or no Node, any more for ${gone} of ${countOf(known, "peer")} that came from it: was the resource deleted, or an old state restored? They stay for ${massRemovalWaitMs / 60_000} min; \`wg-cni peer remove\` takes one away at once.`;
}
