// The interface of a source of node records: a place where each node publishes its record and reads
// those of its peers. There are two, the Kubernetes API (kube/source.ts) and a directory
// (directory/source.ts). source-sync.ts brings their records into the store. test/sources/laws.test.ts
// holds both to the laws below.
import type { NodeRecord, PeerSource } from "../net/record.ts";
import type { AbsenceRule, RecordEntry } from "../plan/records/peer-changes.ts";

/**
 * A source belongs to one place and to one name of this node. Another place is another source.
 *
 * Laws of reading:
 *
 * - Before `start`, a source touches nothing: it has no snapshot, and publishes nothing.
 * - No method waits for the network, and none throws because the place cannot be used.
 * - `snapshot` changes nothing that another process can see. It may ask the place for what is due; the
 *   answer is a change.
 * - The snapshot is undefined until the place was read once, and never again after that.
 * - While nothing has changed, the entries are the same map. An entry is the same object for as long as it
 *   says the same.
 * - No change is lost: after the last change of what `snapshot` would return, `onChange` is called at
 *   least once, or the snapshot has said when to read again (`wakeInMs`). `onChange` may be called without a change.
 * - An entry speaks for the node that it is named after, and for no other. A malformed one costs only itself.
 * - This node's own record is never in the snapshot.
 * - A source that cannot be reached keeps its last entries, is not current, and has a problem.
 * - A source that starts anew on the same place has the same entries.
 *
 * Laws of publishing:
 *
 * - `publish` is idempotent: a record that is there already is not written.
 * - A publication is done only if peers can read the whole record. No peer ever reads a part of it.
 * - A publication that fails leaves what was published before, says why, and is tried again by a later `publish`.
 * - What another writer puts in its place is replaced at once, but repeatedly only after a pause.
 *
 * After disposal, nothing is called or written, and what was published stays published.
 */
export interface RecordSource extends Disposable {
  readonly name: PeerSource;
  readonly labels: SourceLabels;
  /** Begins to watch the place; call it once. */
  start(): void;
  snapshot(): RecordSnapshot | undefined;
  /** Lets peers read this node's record. Call it again until the publication is done. */
  publish(record: NodeRecord): Publication;
  readonly status: SourceStatus;
}

/** How the source and its parts are called in the list of rejected records. */
export interface SourceLabels {
  /** Stands for a problem of the whole place. */
  readonly place: string;
  /** Stands for the doubt about absent records. */
  readonly records: string;
  /** Stands for this node's own record. */
  readonly own: string;
}

export interface RecordSnapshot {
  /** By the node's name. */
  readonly entries: ReadonlyMap<string, RecordEntry>;
  /** When the absence of an entry is believed. */
  readonly rule: AbsenceRule;
  /** False if entries are pending that may turn out to be valid without a change of the place. */
  readonly isComplete: boolean;
  /** Time until the next `snapshot`, if nothing changes before. */
  readonly wakeInMs?: number;
}

export interface Publication {
  /** True if peers can read the record. */
  readonly done: boolean;
  /** A sentence, present if the place refuses the record. */
  readonly problem?: string;
  /** Time until the next attempt, if nothing changes before. */
  readonly wakeInMs?: number;
}

export interface SourceStatus {
  /** True while changes arrive; otherwise an absent entry proves nothing. */
  readonly isCurrent: boolean;
  /** A sentence that says why the snapshot may be old or incomplete. */
  readonly problem?: string;
}
