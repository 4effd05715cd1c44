// Finds out if the state was made on another machine: a disk image that was copied after `up`, or a backup. Its keys
// may be in use there, and peers send to the one of two machines with the same key that they heard last.
import { findMachine } from "../linux/machine.ts";
import type { Identity } from "../state/model.ts";

/** True only if both machines are known. */
export function isOfOtherMachine({ machine }: Identity): boolean {
  const here = findMachine();
  return machine !== undefined && here !== undefined && machine !== here;
}
