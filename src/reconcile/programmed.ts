// Whether what the store notes as programmed is what this kernel has: it may be
// another boot's or another network namespace's.
import { netnsCookie } from "../linux/netns.ts";
import type { Programmed } from "../state/model.ts";

/** True where the kernel was programmed to `generation`, in this boot and this namespace. */
export function isProgrammed(
  programmed: Programmed | undefined,
  generation: number,
  bootId: string,
): boolean {
  return isHere(programmed, bootId) && programmed.generation === generation;
}

/** True where what was programmed, at whatever generation, is in this kernel. */
export function isHere(programmed: Programmed | undefined, bootId: string): programmed is Programmed {
  return programmed?.bootId === bootId && programmed.netnsCookie === netnsCookie();
}
