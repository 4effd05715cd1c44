// For how long nothing has gone in clear, from what the counters say at one look
// after the other. Pure: sums and time are arguments.
import type { Plaintext } from "./status.ts";

export interface PlaintextWindow {
  /** Nothing was counted since; milliseconds on the clock of `nowMs`. */
  readonly sinceMs: number;
  /** Peers of the last packets in clear; none where there were none since the first look. */
  readonly peers: readonly string[];
  /** By peer, as counted last. */
  readonly packets: ReadonlyMap<string, number>;
}

/**
 * What one more look adds. `sums`: of every peer, from 0 again where the table was
 * made anew. Undefined where nothing counts; what was before the first look is not
 * known, so quiet begins with it.
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
