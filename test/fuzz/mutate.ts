// Makes an input from another one. Half of the mutations know the form of the input, because damaged bytes seldom get
// behind the first check of a reader.
import { mutateBytes } from "./mutate-bytes.ts";
import { mutateJson } from "./mutate-json.ts";
import { mutateNetlink } from "./mutate-netlink.ts";
import type { Form } from "./target.ts";

export type Below = (n: number) => number;

/** Bounds an input: readers of larger ones have a bound of their own, which has a test of its own. */
export const maxInputBytes = 16_384;

/** `other`: another input, to take parts of. */
export function mutate(form: Form, input: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  const mutated = mutateForm(form, input, other, below);
  return mutated.length > maxInputBytes ? mutated.subarray(0, maxInputBytes) : mutated;
}

function mutateForm(form: Form, input: Uint8Array, other: Uint8Array, below: Below): Uint8Array {
  const isBlind = form === "bytes" || form === "text" || below(8) === 0;
  if (isBlind) return mutateBytes(input, other, below);
  return form === "json" ? mutateJson(input, other, below) : mutateNetlink(input, other, below);
}
