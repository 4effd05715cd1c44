// Measures the plaintext window from the counters of consecutive passes. Pure: sums and time are arguments.
import type { Plaintext } from "./peer-status";

export interface PlaintextWindow {
  /** Nothing was counted since; milliseconds on the clock of `nowMs`. */
  readonly sinceMs: number;
  /** Peers of the last packets in plaintext; none if there were none since the first pass. */
  readonly peers: readonly string[];
  /** The last count of each peer. */
  readonly packets: ReadonlyMap<string, number>;
}

/**
 * Adds the counts of one more pass. `sums` has those of every peer, from 0 again if the table was
 * created again. Returns undefined if packets are not counted. The time before the
 * first pass is unknown, so the window begins with it.
 */
export function followPlaintext(
  before: PlaintextWindow | undefined,
  sums: ReadonlyMap<string, Plaintext>,
  nowMs: number,
): PlaintextWindow | undefined {
  if (sums.size === 0) return undefined;
  const packets = new Map([...sums].map(([peer, one]) => [peer, one.inPackets + one.outPackets]));
  if (before === undefined) return { sinceMs: nowMs, peers: [], packets };
  const loud = [...packets].filter(([peer, sum]) => sum > 0 && sum !== before.packets.get(peer));
  if (loud.length === 0) return { ...before, packets };
  return { sinceMs: nowMs, peers: loud.map(([peer]) => peer).sort(), packets };
}
