// Decides when peers leave whose objects were deleted. If an object is deleted by mistake, its node
// writes it again at once; an object that goes with its Node does not come back. So a peer leaves after
// a delay, and nothing happens to one whose object has come back. If most objects are gone, a deleted
// resource or a restored old state is more likely than the loss of the nodes, so the delay is longer.
// Pure: time is an argument.
//
//   gone                  leaves after
//   ────────────────────  ─────────────
//   a few                 10 s
//   more than half of >1  5 min
//   while the API cannot be watched: never; the delay starts again
import { countOf } from "../net/human-format.ts";

export const removalWaitMs = 10_000;
export const massRemovalWaitMs = 300_000;

export interface Absence {
  readonly sinceMs: number;
  readonly waitMs: number;
}

/** Peers by name whose objects are gone and that still stay. */
export type Absences = ReadonlyMap<string, Absence>;

export interface PeerRemovalFacts {
  /** Peers that came from the API. */
  readonly known: ReadonlySet<string>;
  readonly isPresent: (name: string) => boolean;
  /** Result of the last plan. */
  readonly absences: Absences;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: number;
}

export interface PeerRemovalPlan {
  readonly remove: readonly string[];
  readonly absences: Absences;
  /** Time until the next peer leaves. */
  readonly wakeInMs?: number;
  /** A sentence, present if so many are gone that the peers stay for the longer delay. */
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
