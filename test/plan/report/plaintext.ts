// Records of plaintext for tests that do not look at their times.
import type { PlaintextRecord } from "../../../src/net/plaintext.ts";

/** `leakedPackets`: of both; all unless told. `droppedPackets`: none unless told. */
export function plaintextOf(
  inPackets: number,
  outPackets: number,
  leakedPackets = inPackets + outPackets,
  droppedPackets = 0,
): PlaintextRecord {
  const times = { firstAtMs: 1_763_690_000_000, lastAtMs: 1_763_690_060_000 };
  return { inPackets, outPackets, leakedPackets, droppedPackets, ...times };
}
