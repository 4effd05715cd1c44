// Compares what the store notes as applied with this kernel: the note may be from
// another boot's or another network namespace's.
import { netnsCookie } from "../linux/netns.ts";
import type { AppliedState } from "../state/model.ts";

/** True if the kernel was programmed to `generation`, in this boot and this namespace. */
export function isApplied(applied: AppliedState | undefined, generation: number, bootId: string): boolean {
  return appliedToThisKernel(applied, bootId) && applied.generation === generation;
}

/** True if what was programmed, at whatever generation, is in this kernel. */
export function appliedToThisKernel(
  applied: AppliedState | undefined,
  bootId: string,
): applied is AppliedState {
  return applied?.bootId === bootId && applied.netnsCookie === netnsCookie();
}
