// Verifies the proofs of possession in records that come in, each once. A list of thousands takes a
// second, so it is done in slices: until the last proof is verified the records wait, and the agent
// goes on with what it knows.
import type { NodeRecord, SlotRecord } from "../net/record.ts";
import type { Store } from "../state/store.ts";
import { isProven } from "./proof-check.ts";

/** Some hundred proofs. */
const sliceMs = 50;

export class ProofQueue {
  /** By slot of a record that waits; undefined if the store has verified it before. */
  readonly #verdicts = new WeakMap<SlotRecord, boolean | undefined>();

  constructor(
    private readonly store: Store,
    /** Milliseconds on a clock that only goes forward. */
    private readonly now: () => number,
  ) {}

  /** True once all proofs of the records are verified; false after a slice of time: call again soon. Throws StoreError. */
  verify(records: readonly NodeRecord[]): boolean {
    const untilMs = this.now() + sliceMs;
    for (const record of records) {
      const waiting = record.slots.filter((slot) => slot.proof !== undefined && !this.#verdicts.has(slot));
      if (waiting.length === 0) continue;
      if (this.now() >= untilMs) return false;
      const unverified = this.store.unverified(record);
      for (const slot of waiting)
        this.#verdicts.set(slot, unverified.includes(slot) ? isProven(record.name, slot) : undefined);
    }
    return true;
  }

  /** What `verify` has found, for Store.putPeers. */
  readonly isProven = (node: string, slot: SlotRecord): boolean =>
    this.#verdicts.get(slot) ?? isProven(node, slot);
}
