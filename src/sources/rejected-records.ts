// The records that were not taken, for `status` and `peer list`: each source of
// records has a list of its own, the store has one with all of them.
import type { RejectedRecord } from "../state/model.ts";
import type { Store } from "../state/store.ts";

export type RejectingSource = "directory" | "kube" | "node" | "mesh";

export class RejectedRecords {
  readonly #lists = new Map<RejectingSource, readonly RejectedRecord[]>();
  #stored: string | undefined;

  constructor(private readonly store: Store) {}

  /** Exchanges a source's list; the store is asked only where all of it is another than before. Throws StoreError. */
  put(source: RejectingSource, refused: readonly RejectedRecord[]): void {
    this.#lists.set(source, refused);
    const all = [...this.#lists.values()].flat();
    const text = JSON.stringify(all);
    if (text === this.#stored) return;
    this.store.putRejectedRecords(all);
    this.#stored = text;
  }
}
