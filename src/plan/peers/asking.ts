// Decides when a record asks a peer to begin a handshake. If a node's own handshakes get no answer (its
// clock was set back, so that its timestamps are old; a firewall at the peer admits only answers), only the
// peer can begin one. A record is the only way to ask for that. Pure: time is an argument.
//
//   silent for 35 s, and a while that depends on the cluster's size     the record names the peer
//   answers, for an hour after the last silence                         the record still does
//
// All nodes that send to a dead node ask it, so the agents of a cluster together write at most one record
// a second.
import { rekeyTimeoutMs } from "../../net/wireguard-timers.ts";
import { unansweredMs } from "./gate-timers.ts";

/**
 * By then the gate has found the silence, and a handshake with the endpoint of the record was tried in vain. The
 * peer itself may learn of the silence only by being asked: if nothing of ours reaches it, its own packets still do.
 */
const askAfterMs = unansweredMs + rekeyTimeoutMs;
/** A peer that could not be reached without asking once will need it again. */
const holdMs = 3_600_000;

export interface AskFacts {
  /** Unix milliseconds until which the peer is asked already; absent if it is not. */
  readonly asksUntilMs?: number;
  /** When the present silence began, on the clock that only goes forward; absent without one. */
  readonly silentSinceMs?: number;
  /** The time for which this node lets its peers write first. */
  readonly delayMs: number;
}

/** Returns the time until which the peer is asked from now on; undefined if it is not asked. The time rarely changes. */
export function nextAsk(
  { asksUntilMs, silentSinceMs, delayMs }: AskFacts,
  { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
): number | undefined {
  const isDue = silentSinceMs !== undefined && nowMs - silentSinceMs >= askAfterMs + delayMs;
  // If the clock was set back, the hour does not become longer.
  const leftMs = asksUntilMs === undefined ? 0 : Math.min(asksUntilMs - wallMs, holdMs);
  if (isDue && leftMs < holdMs / 2) return wallMs + holdMs;
  if (asksUntilMs === undefined || leftMs <= 0) return undefined;
  return leftMs < asksUntilMs - wallMs ? wallMs + leftMs : asksUntilMs;
}

/** Returns a delay from 0 to one second for each peer: the same pair of nodes always gets the same delay. */
export function askDelayMs(node: string, peer: string, peers: number): number {
  let hash = 2166136261;
  for (const character of `${node}\n${peer}`)
    hash = Math.imul(hash ^ (character.codePointAt(0) as number), 16777619);
  return ((hash >>> 0) / 2 ** 32) * 1000 * peers;
}
