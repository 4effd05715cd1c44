// Collects the rejected records for `status` and `peer list`. Each source has its own list, and the
// store holds all of them in one.
import type { PeerSource } from "../net/record.ts";
import type { RejectedRecord } from "../state/model.ts";
import type { Store } from "../state/store.ts";

export type RejectingSource = PeerSource | "node" | "mesh";

export class RejectedRecords {
  readonly #lists = new Map<RejectingSource, readonly RejectedRecord[]>();
  #stored: string | undefined;

  constructor(private readonly store: Store) {}

  /** Replaces the list of one source; writes to the store only if the whole has changed. Throws StoreError. */
  put(source: RejectingSource, refused: readonly RejectedRecord[]): void {
    this.#lists.set(source, refused);
    const all = [...this.#lists.values()].flat();
    const text = JSON.stringify(all);
    if (text === this.#stored) return;
    this.store.putRejectedRecords(all);
    this.#stored = text;
  }
}
