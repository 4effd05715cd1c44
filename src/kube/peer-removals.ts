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
import { type Absences, planAbsences } from "../plan/absence.ts";

export const removalWaitMs = 10_000;
export const massRemovalWaitMs = 300_000;

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

export function planPeerRemovals(facts: PeerRemovalFacts): PeerRemovalPlan {
  const { known, isPresent, absences: before, nowMs } = facts;
  const gone = [...known].filter((name) => !isPresent(name));
  const isMany = gone.length > 1 && 2 * gone.length > known.size;
  // Of many that were gone at once, those that have not come back keep the longer delay.
  const waitOf = (name: string) => (isMany ? massRemovalWaitMs : (before.get(name)?.waitMs ?? removalWaitMs));
  const missing = new Map(gone.map((name) => [name, waitOf(name)]));
  const { believed: remove, ...plan } = planAbsences(missing, before, nowMs);
  const staying = gone.length - remove.length;
  return {
    ...{ ...plan, remove },
    ...(isMany && staying > 0 ? { doubt: explainDoubt(staying, known.size) } : {}),
  };
}

function explainDoubt(gone: number, known: number): string {
  return `The Kubernetes API has no WireGuardNode, or no Node, any more for ${gone} of ${countOf(known, "peer")} that came from it: was the resource deleted, or an old state restored? They stay for ${massRemovalWaitMs / 60_000} min; \`wg-cni peer remove\` takes one away at once.`;
}
