// Follows the setting that names a source. Another value of the setting, or another name of this node, is
// another source, which knows nothing of the one before. The peers of the store stay meanwhile.
import type { NodeRecord, PeerSource } from "../net/record.ts";
import type { Store } from "../state/store.ts";
import type { Publication, RecordSource } from "./record-source.ts";
import { SourceSync, type SourceSyncOptions } from "./source-sync.ts";

export interface SourceSettingOptions<S> extends SourceSyncOptions {
  readonly name: PeerSource;
  /** Makes the source; `ownName`: this node's name, if it has one. */
  readonly make: (place: string, ownName: string | undefined) => S;
  /** Is called if the setting no longer names a source. */
  readonly onOff?: () => void;
}

export class SourceSetting<S extends RecordSource> implements Disposable {
  #place = "";
  #ownName: string | undefined;
  #current: SourceSync<S> | undefined;

  constructor(
    private readonly store: Store,
    private readonly options: SourceSettingOptions<S>,
  ) {}

  [Symbol.dispose](): void {
    this.#current?.[Symbol.dispose]();
  }

  get name(): PeerSource {
    return this.options.name;
  }

  /** The present source; undefined if the setting is "". */
  get current(): SourceSync<S> | undefined {
    return this.#current;
  }

  /** Makes the store agree with the source. Returns the time until the next call, if nothing changes before. Throws StoreError. */
  ingest(place: string, ownName: string | undefined): number | undefined {
    this.#follow(place, ownName);
    if (this.#current === undefined) this.options.rejected.put(this.name, []);
    return this.#current?.ingest();
  }

  /** Publishes this node's record; without a source there is nothing to do. Throws StoreError. */
  publish(record: NodeRecord): Publication {
    return this.#current?.publish(record) ?? { done: true };
  }

  #follow(place: string, ownName: string | undefined): void {
    if (place === this.#place && ownName === this.#ownName) return;
    const { store, options } = this;
    this.#current?.[Symbol.dispose]();
    if (place === "" && this.#current !== undefined) options.onOff?.();
    this.#place = place;
    this.#ownName = ownName;
    this.#current = place === "" ? undefined : new SourceSync(options.make(place, ownName), store, options);
    this.#current?.source.start();
  }
}
