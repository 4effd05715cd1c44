// Programs the mesh on behalf of an ADD that found it missing or behind. Loaded
// on demand as a bundle of its own, so only plain values go in and come out.
import { Session } from "./session.ts";

/** Syncs; returns the first failure's sentence, or undefined where the mesh is as it should be. Throws StoreError, ParseError. */
export function repairMesh(stateDir: string, nowMs: number): string | undefined {
  using session = new Session(stateDir, () => nowMs);
  return session.sync().failures[0]?.error.message;
}
