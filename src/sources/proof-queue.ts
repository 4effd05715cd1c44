// Verifies the proofs of possession of incoming records, each proof once. A list of thousands takes a
// second, so the work is done in slices: the records wait until the last proof is verified, and the
// agent goes on with the records that it has.
import type { NodeRecord, SlotRecord } from "../net/record.ts";
import type { Store } from "../state/store.ts";
import { isProven } from "./proof-check.ts";

/** One slice verifies some hundred proofs. */
const sliceMs = 50;

export class ProofQueue {
  /** Results for the slots of waiting records; undefined if the store has verified the proof before. */
  readonly #verdicts = new WeakMap<SlotRecord, boolean | undefined>();

  constructor(
    private readonly store: Store,
    /** Milliseconds of a monotonic clock. */
    private readonly now: () => number,
  ) {}

  /** Returns true once all proofs of the records are verified, false after one slice: then call again soon. Throws StoreError. */
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

  /** Returns the result of `verify`, for Store.putPeers. */
  readonly isProven = (node: string, slot: SlotRecord): boolean =>
    this.#verdicts.get(slot) ?? isProven(node, slot);
}
