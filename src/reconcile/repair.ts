// Programs the mesh on behalf of an ADD that found it missing or out of date. Loaded
// on demand as a bundle of its own, so only plain values go in and come out.
import { findObstacle } from "./outcome.ts";
import { Session } from "./session.ts";

export interface Repair {
  /** A sentence if a pod with addresses of these families lacks something that it needs. */
  readonly obstacle?: string;
  /** The other failures. */
  readonly warnings: readonly string[];
}

/** Syncs. `families`: of the pod's addresses. Throws StoreError, ParseError. */
export function repairMesh(stateDir: string, nowMs: number, families: readonly (4 | 6)[]): Repair {
  using session = new Session(stateDir, () => nowMs);
  const report = session.sync();
  const obstacle = findObstacle(report, families);
  const warnings = report.failures.map(({ error }) => error.message).filter((text) => text !== obstacle);
  return {
    ...(obstacle === undefined ? {} : { obstacle }),
    warnings: [...warnings, ...report.missingCapabilities],
  };
}
