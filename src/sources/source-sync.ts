// Makes the store's peers agree with the records of one source, and publishes this node's record in it.
// plan/records/peer-changes.ts decides about changes. The source marks a change by a call of its
// `onChange`; the reconcile pass that follows calls `ingest`, which reads the snapshot.
import type { NodeRecord, PeerSource } from "../net/record.ts";
import {
  emptyMemory,
  listRejected,
  type PeerChanges,
  planPeerChanges,
  type RecordEntry,
  type RejectedFile,
} from "../plan/records/peer-changes.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";
import { type LogLine, logFew } from "../telemetry/log-lines.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";
import { ProofQueue } from "./proof-queue.ts";
import type { Publication, RecordSnapshot, RecordSource, SourceLabels } from "./record-source.ts";
import type { RejectedRecords } from "./rejected-records.ts";

/** Shows all peers and all rejected records. */
const listedBy = "wg-cni peer list";

export interface SourceSyncOptions {
  readonly log: Log;
  readonly rejected: RejectedRecords;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

export class SourceSync<S extends RecordSource> implements Disposable {
  readonly #proofs: ProofQueue;
  /** The source of each peer of the store. */
  #sources = new Map<string, PeerSource>();
  /** The generation at which the store agreed with the source. */
  #generation: number | undefined;
  /** The entries that the store agrees with. */
  #entries: ReadonlyMap<string, RecordEntry> = new Map();
  #memory = emptyMemory;
  #rejected: readonly RejectedFile[] = [];
  /** The entries and the generation that `#rejected` was made from. */
  #listed:
    | { readonly entries: RecordSnapshot["entries"]; readonly generation: number | undefined }
    | undefined;
  #isComplete = false;
  #isPublished = false;
  readonly #problems: ProblemLog;
  #doubt: string | undefined;
  #publishProblem: string | undefined;

  constructor(
    readonly source: S,
    private readonly store: Store,
    private readonly options: SourceSyncOptions,
  ) {
    this.#proofs = new ProofQueue(store, options.now);
    this.#problems = new ProblemLog(options.log);
  }

  [Symbol.dispose](): void {
    this.source[Symbol.dispose]();
  }

  /** True once the store has the peers of the whole first snapshot. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** True if peers can read this node's record. */
  get isPublished(): boolean {
    return this.#isPublished;
  }

  /** Makes the store agree with the source; writes nothing if it does. Returns the time until the next call, if nothing changes before. Throws StoreError. */
  ingest(): number | undefined {
    const { source } = this;
    const snapshot = source.snapshot();
    const wakeInMs = snapshot === undefined ? undefined : this.#updateStore(snapshot);
    if (snapshot !== undefined) this.#listRejected(snapshot);
    this.#report("place", source.status.problem, "records cannot be read");
    this.#storeRejected();
    return earliest(wakeInMs, snapshot?.wakeInMs);
  }

  /** Publishes this node's record, but not before the store has all peers: a node that encrypts to us must not find us without its key. Throws StoreError. */
  publish(record: NodeRecord): Publication {
    const publication = this.#isComplete ? this.source.publish(record) : { done: false };
    this.#publishProblem = publication.problem;
    this.#report("own", publication.problem, "this node's record cannot be published");
    this.#isPublished = publication.done;
    this.#storeRejected();
    return publication;
  }

  #updateStore(snapshot: RecordSnapshot): number | undefined {
    const { store, source } = this;
    // The generation is read before the sources, so that a concurrent write leads to another reading.
    let { generation } = store;
    let changes = this.#plan(snapshot, generation);
    if (!this.#proofs.verify(changes.put)) return 0;
    let written: readonly NodeRecord[] = [];
    if (changes.put.length + changes.remove.length > 0)
      store.transaction(() => {
        if (store.generation !== generation) changes = this.#plan(snapshot, store.generation);
        for (const name of changes.remove) store.removePeer(name);
        written = store.putPeers(changes.put, source.name, this.#proofs.isProven);
        generation = store.generation;
      });
    this.#generation = generation;
    for (const name of changes.remove) this.#sources.delete(name);
    for (const { name } of changes.put) this.#sources.set(name, source.name);
    this.#entries = snapshot.entries;
    this.#memory = changes.memory;
    this.#isComplete = snapshot.isComplete;
    const { log } = this.options;
    const lineOf = (message: string, peer: string): LogLine => ({ level: "info", message, fields: { peer } });
    const accepted = written.map(({ name }) => lineOf("record accepted", name));
    const deleted = changes.remove.map((name) => lineOf("record deleted, peer removed", name));
    logFew(log, [...accepted, ...deleted], listedBy);
    if (source.status.isCurrent) this.#doubt = changes.doubt;
    this.#report("records", this.#doubt, "records of most peers are missing");
    return changes.wakeInMs;
  }

  /**
   * Another process may have removed a peer or imported another record of it, so peers of another source
   * count as changed.
   */
  #plan({ entries, rule }: RecordSnapshot, generation: number): PeerChanges {
    const { store, source } = this;
    const isCompared = generation === this.#generation;
    if (!isCompared) this.#sources = store.peerSources();
    const hasChanged = (name: string) =>
      entries.get(name) !== this.#entries.get(name) || this.#sources.get(name) !== source.name;
    const changed = isCompared && entries === this.#entries ? [] : entries.keys().filter(hasChanged);
    return planPeerChanges({
      ...{ source: source.name, sources: this.#sources, isCurrent: source.status.isCurrent },
      ...{ entries, rule, changed },
      ...{ memory: this.#memory, nowMs: this.options.now() },
    });
  }

  #report(topic: keyof SourceLabels, message: string | undefined, name: string): void {
    const fields = { source: this.source.name };
    this.#problems.reportOnChange(topic, message === undefined ? undefined : { message, fields, name });
  }

  #listRejected({ entries }: RecordSnapshot): void {
    const generation = this.#generation;
    if (entries === this.#listed?.entries && generation === this.#listed.generation) return;
    this.#rejected = listRejected(this.source.name, entries, this.#sources);
    this.#listed = { entries, generation };
    const lines = this.#rejected.map(({ file, reason }) => {
      return [file, { message: "record rejected", fields: { file, reason } }] as const;
    });
    this.#problems.reportAllOnChange("rejected", new Map(lines), listedBy);
  }

  /** Stores the rejected records and the problems that concern all records. */
  #storeRejected(): void {
    const { name, labels, status } = this.source;
    const problems: readonly (readonly [file: string, reason: string | undefined])[] = [
      [labels.own, this.#publishProblem],
      [labels.records, this.#doubt],
      [labels.place, status.problem],
    ];
    // Of two with the same label, the last one is shown.
    const whole = new Map(
      problems.flatMap(([file, reason]) => (reason === undefined ? [] : [[file, reason]])),
    );
    this.options.rejected.put(name, [
      ...Array.from(whole, ([file, reason]) => ({ file, reason })),
      ...this.#rejected,
    ]);
  }
}

/** The smaller of two times that may be absent. */
function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);
}
