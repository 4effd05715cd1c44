// Makes an input smaller that has some property, by removing parts of it, halves first.
import { replaced } from "./mutate-bytes.ts";

const nothing = new Uint8Array(0);
/** An input that is large and fails slowly is left as it is after so many attempts. */
const maxAttempts = 5000;

export function minimize(input: Uint8Array, stillFails: (input: Uint8Array) => boolean): Uint8Array {
  let smallest = input;
  let attempts = 0;
  for (let size = Math.max(1, input.length >> 1); size > 0; size = size >> 1) {
    for (let at = 0; at < smallest.length && attempts < maxAttempts; attempts++) {
      const smaller = replaced(smallest, at, Math.min(at + size, smallest.length), nothing);
      if (stillFails(smaller)) smallest = smaller;
      else at += size;
    }
  }
  return smallest;
}
