// Asking a peer to begin a handshake. A node whose own handshakes get no answer (its clock was set
// back, so that its timestamps are old; a firewall at the peer admits only answers) can be heard again
// only if the peer begins. Records are the one way to tell it so. Pure: time is an argument.
//
//   silent for 45 s, and a while that depends on the cluster's size     the record names the peer
//   answers, for an hour after the last silence                         the record still does
//
// A node that has died is asked by everybody who sends to it, so the agents of a cluster together
// write one record a second at most.
import { recoveryStepMs, unansweredMs } from "./gate-timers.ts";

/** The gate finds the silence, and the first recovery step has had its time. */
const askAfterMs = unansweredMs + recoveryStepMs;
/** A peer that cannot be reached without being asked once will be so again. */
const holdMs = 3_600_000;

export interface AskFacts {
  /** Unix milliseconds until which the peer is asked already; absent if it is not. */
  readonly asksUntilMs?: number;
  /** When the present silence began, on the clock that only goes forward; absent without one. */
  readonly silentSinceMs?: number;
  /** The time for which this node lets its peers write first. */
  readonly delayMs: number;
}

/** Until when the peer is asked from now on; undefined if it is not. It is seldom another time than before. */
export function nextAsk(
  { asksUntilMs, silentSinceMs, delayMs }: AskFacts,
  { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
): number | undefined {
  const isDue = silentSinceMs !== undefined && nowMs - silentSinceMs >= askAfterMs + delayMs;
  // A clock that was set back makes no hour longer.
  const leftMs = asksUntilMs === undefined ? 0 : Math.min(asksUntilMs - wallMs, holdMs);
  if (isDue && leftMs < holdMs / 2) return wallMs + holdMs;
  if (asksUntilMs === undefined || leftMs <= 0) return undefined;
  return leftMs < asksUntilMs - wallMs ? wallMs + leftMs : asksUntilMs;
}

/** From 0 to a second for each peer: the same pair of nodes always gets the same. */
export function askDelayMs(node: string, peer: string, peers: number): number {
  let hash = 2166136261;
  for (const character of `${node}\n${peer}`)
    hash = Math.imul(hash ^ (character.codePointAt(0) as number), 16777619);
  return ((hash >>> 0) / 2 ** 32) * 1000 * peers;
}
