// Programs the mesh on behalf of an ADD that found it missing or out of date. Loaded
// on demand as a bundle of its own, so only plain values go in and come out.
import { withFileLock } from "../linux/lock.ts";
import { findObstacle } from "./outcome.ts";
import { Session } from "./session.ts";
import { lockTimeoutMs } from "./sync.ts";

export interface Repair {
  /** A sentence if a pod with addresses of these families lacks something that it needs. */
  readonly obstacle?: string;
  /** The other failures. */
  readonly warnings: readonly string[];
}

export interface Need {
  /** Those of the pod's addresses. */
  readonly families: readonly (4 | 6)[];
  /** False once another process has programmed the mesh. */
  readonly isNeeded: () => boolean;
}

/** Syncs, unless the sync of another process, which it waits for, was enough. Throws StoreError, ParseError, SysError. */
export function repairMesh(stateDir: string, nowMs: number, { families, isNeeded }: Need): Repair {
  withFileLock(`${stateDir}/sync.lock`, lockTimeoutMs, () => {});
  if (!isNeeded()) return { warnings: [] };
  using session = new Session(stateDir, () => nowMs);
  const report = session.sync();
  const obstacle = findObstacle(report, families);
  const warnings = report.failures.map(({ error }) => error.message).filter((text) => text !== obstacle);
  return {
    ...(obstacle === undefined ? {} : { obstacle }),
    warnings: [...warnings, ...report.missingCapabilities],
  };
}
