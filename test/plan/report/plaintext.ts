// Records of plaintext for tests that do not look at their times.
import type { PlaintextRecord } from "../../../src/net/plaintext.ts";

/** `leakedPackets`: of both; all unless told. */
export function plaintextOf(
  inPackets: number,
  outPackets: number,
  leakedPackets = inPackets + outPackets,
): PlaintextRecord {
  return { inPackets, outPackets, leakedPackets, firstAtMs: 1_763_690_000_000, lastAtMs: 1_763_690_060_000 };
}
