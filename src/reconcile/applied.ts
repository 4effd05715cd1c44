// Compares what the store notes as applied with this kernel: the note may be from
// another boot's or another network namespace's.
import { netnsCookie } from "../linux/netns.ts";
import type { AppliedState } from "../state/model.ts";

/** True if the kernel was programmed to `generation`, in this boot and this namespace. */
export function isApplied(programmed: AppliedState | undefined, generation: number, bootId: string): boolean {
  return appliedToThisKernel(programmed, bootId) && programmed.generation === generation;
}

/** True if what was programmed, at whatever generation, is in this kernel. */
export function appliedToThisKernel(
  programmed: AppliedState | undefined,
  bootId: string,
): programmed is AppliedState {
  return programmed?.bootId === bootId && programmed.netnsCookie === netnsCookie();
}
