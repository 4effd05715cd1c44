// The records directory (setting recordsDir). Every record in it becomes a peer of the store, this
// node's own record is written to it, and rejected files are listed for `peer list`. The meaning of a
// directory's content is decided in plan/records/directory.ts.
//
//   const source = new DirectorySource(session.store, options)
//   in every reconcile pass, with its settings and identity:
//     source.refresh(settings.recordsDir, identity?.name)   before the mesh is synced
//     source.publish(ownRecord(identity, settings))         after it
//
// Both do nothing while recordsDir is "": peers that came from a directory then stay until
// `peer remove`. If the setting names another directory, its records take over, and peers without a
// record there leave. A problem is logged when it appears and when it is resolved; the reports
// contain it as long as it lasts.

import { DirectoryWatch } from "../../fswatch/directory-watch.ts";
import { stampOf } from "../../fswatch/stamp.ts";
import type { NodeRecord } from "../../net/record.ts";
import {
  type DirectoryChange,
  planDirectory,
  type RejectedFile,
  recordFile,
} from "../../plan/records/directory.ts";
import type { Store } from "../../state/store.ts";
import type { Log } from "../../telemetry/log.ts";
import type { SetDeadline } from "../deadline.ts";
import { ProofQueue } from "../proof-queue.ts";
import type { RejectedRecords } from "../rejected-records.ts";
import { type DirectorySnapshot, RecordReader, settleMs } from "./cache.ts";
import { compareRecordFile, publishRecord, RecordsError, recordText } from "./files.ts";

/** Bounds how often two agents that write the same file overwrite each other. */
const rewriteSpacingMs = 30_000;
/** Bounds the lines of one kind in one pass; `peer list` shows all of them. */
const maxLogLines = 5;

export interface DirectorySourceOptions {
  readonly log: Log;
  /** Receives the rejected records. */
  readonly rejected: RejectedRecords;
  /** Is called when something in the directory has changed: call `refresh` soon. */
  readonly onChange: () => void;
  /** Asks for another `refresh` at that time, even if nothing changes; undefined removes the deadline. */
  readonly setDeadline: SetDeadline;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

export interface DirectoryReport {
  /** Number of accepted records of other nodes. */
  readonly records: number;
  /** Number of rejected files. */
  readonly rejected: number;
  /** A sentence, present if the directory as a whole is the problem. */
  readonly problem?: string;
}

export interface PublishReport {
  readonly wrote: boolean;
  readonly problem?: string;
}

/** One directory with its reader and its watch. */
interface OpenDirectory {
  readonly directory: string;
  readonly ownName: string | undefined;
  readonly reader: RecordReader;
  readonly watch: DirectoryWatch;
}

export class DirectorySource implements Disposable {
  #open: OpenDirectory | undefined;
  /** When another `refresh` was asked for. */
  #refreshDueMs = Number.NEGATIVE_INFINITY;
  /** Generation of the store when it last agreed with the directory; undefined if it may differ. */
  #generation: number | undefined;
  #report: DirectoryReport = { records: 0, rejected: 0 };
  #wasDoubtful = false;
  #rejected: readonly RejectedFile[] = [];
  #ownRejection: RejectedFile | undefined;
  #published: { readonly text: string; readonly stamp: string } | undefined;
  #rewrittenAtMs = Number.NEGATIVE_INFINITY;
  readonly #proofs: ProofQueue;

  constructor(
    private readonly store: Store,
    private readonly options: DirectorySourceOptions,
  ) {
    this.#proofs = new ProofQueue(store, options.now);
  }

  /** Makes the store agree with `directory`; writes nothing if it does already. Throws StoreError. */
  refresh(directory: string, ownName: string | undefined): DirectoryReport {
    const open = this.#openDirectory(directory, ownName);
    if (open === undefined) {
      this.#rejected = [];
      this.#storeRejected();
      return this.#reportOnChange({ records: 0, rejected: 0 });
    }
    try {
      const listChanged = open.watch.checkForChange();
      const snapshot = open.reader.read(this.options.now(), this.#isKnown());
      if (listChanged || !snapshot.settled) this.#requestRefresh(settleMs);
      if (snapshot.changed || this.#report.problem !== undefined) this.#generation = undefined;
      if (this.#generation !== this.store.generation) this.#updateStore(open, snapshot);
      return this.#report;
    } catch (error) {
      if (!(error instanceof RecordsError)) throw error;
      this.#rejected = [
        { file: directory, reason: `${error.message} Until then the peers stay as they are.` },
      ];
      this.#storeRejected();
      return this.#reportOnChange({ ...this.#report, problem: error.message });
    }
  }

  /** Writes this node's record to the directory if the file is missing or differs. Throws StoreError. */
  publish(record: NodeRecord): PublishReport {
    if (this.#open === undefined) return { wrote: false };
    const { directory } = this.#open;
    const file = recordFile(record.name);
    try {
      const wrote = this.#write(directory, record);
      this.#setOwnRejection(undefined);
      return { wrote };
    } catch (error) {
      if (!(error instanceof RecordsError)) throw error;
      // `refresh` has reported a directory that cannot be used at all.
      if (this.#report.problem === undefined) this.#setOwnRejection({ file, reason: error.message });
      return { wrote: false, problem: error.message };
    }
  }

  [Symbol.dispose](): void {
    this.#open?.watch[Symbol.dispose]();
  }

  /** Starts over if the directory or this node's name has changed since the last pass. */
  #openDirectory(directory: string, ownName: string | undefined): OpenDirectory | undefined {
    const before = this.#open;
    if (before !== undefined && before.directory === directory && before.ownName === ownName) return before;
    before?.watch[Symbol.dispose]();
    this.#generation = undefined;
    this.#wasDoubtful = false;
    this.#ownRejection = undefined;
    this.#published = undefined;
    this.#open =
      directory === ""
        ? undefined
        : {
            ...{ directory, ownName },
            reader: new RecordReader(directory, ownName),
            watch: new DirectoryWatch(directory, this.options.onChange),
          };
    return this.#open;
  }

  /** Finds the peers that came from the directory; the store is read only if there are too many files. */
  #isKnown(): (file: string) => boolean {
    let files: ReadonlySet<string> | undefined;
    return (file) => {
      files ??= new Set(
        this.store
          .peers()
          .flatMap(({ record, source }) => (source === "directory" ? [recordFile(record.name)] : [])),
      );
      return files.has(file);
    };
  }

  /** An earlier request wins over a later one; unsettled files request a refresh in every pass. */
  #requestRefresh(ms: number): void {
    const nowMs = this.options.now();
    const isPending = this.#refreshDueMs > nowMs;
    if (isPending && this.#refreshDueMs <= nowMs + ms) return;
    this.#refreshDueMs = nowMs + ms;
    this.options.setDeadline("directory", ms);
  }

  #updateStore({ directory, ownName }: OpenDirectory, snapshot: DirectorySnapshot): void {
    const { store } = this;
    const view = {
      ...{
        directory,
        present: snapshot.present,
        verdicts: snapshot.verdicts,
        wasDoubtful: this.#wasDoubtful,
      },
      ...(ownName === undefined ? {} : { ownName }),
    };
    // The generation is read before the peers, so that a concurrent write causes another refresh.
    let generation = store.generation;
    let change = planDirectory(view, store.peers());
    if (!this.#proofs.verify(change.put)) {
      this.#requestRefresh(0);
      return;
    }
    if (change.put.length + change.remove.length > 0)
      store.transaction(() => {
        if (store.generation !== generation) change = planDirectory(view, store.peers());
        for (const name of change.remove) store.removePeer(name);
        store.putPeers(change.put, "directory", this.#proofs.isProven);
        generation = store.generation;
      });
    const problem = describeProblem(change, snapshot, directory);
    this.#logChange(change);
    this.#wasDoubtful = change.doubt !== undefined;
    this.#rejected = [
      ...change.rejected,
      ...(problem === undefined ? [] : [{ file: directory, reason: problem }]),
    ];
    this.#storeRejected();
    this.#reportOnChange({
      records: snapshot.verdicts.size - change.rejected.length,
      rejected: change.rejected.length,
      ...(problem === undefined ? {} : { problem }),
    });
    this.#generation = generation;
  }

  /** Keeps the report; logs a problem that has appeared, changed or been resolved. */
  #reportOnChange(report: DirectoryReport): DirectoryReport {
    const before = this.#report.problem;
    this.#report = report;
    if (report.problem === before) return report;
    if (report.problem === undefined)
      this.options.log.info("resolved: the records directory can be used again");
    else this.options.log.warn(report.problem);
    return report;
  }

  /** Returns true if it wrote. Throws RecordsError. */
  #write(directory: string, record: NodeRecord): boolean {
    const path = `${directory}/${recordFile(record.name)}`;
    const text = recordText(record);
    const stamp = stampOf(path);
    if (stamp !== "" && this.#published?.text === text && this.#published.stamp === stamp) return false;
    const isForeign = this.#published?.text === text && compareRecordFile(path, text) === "other";
    if (isForeign) this.#throwIfContested(path, record.name);
    const wrote = publishRecord(directory, record);
    // The stamp is read before the comparison, so that a later write by another process changes it.
    const written = stampOf(path);
    this.#published = { text, stamp: compareRecordFile(path, text) === "same" ? written : "" };
    if (isForeign)
      this.options.log.warn("this node's record was changed by another process, restored", { path });
    else if (wrote) this.options.log.info("published this node's record", { path });
    return wrote;
  }

  /** A foreign write is replaced at once, but repeated ones only after a pause. */
  #throwIfContested(path: string, name: string): void {
    const nowMs = this.options.now();
    if (nowMs - this.#rewrittenAtMs < rewriteSpacingMs)
      throw new RecordsError(
        `Another process overwrites ${path} repeatedly: is there another node with the name ${name}? Give one of the two another with \`wg-cni up --node\`.`,
      );
    this.#rewrittenAtMs = nowMs;
  }

  #setOwnRejection(refused: RejectedFile | undefined): void {
    const before = this.#ownRejection?.reason;
    this.#ownRejection = refused;
    this.#storeRejected();
    if (refused !== undefined && refused.reason !== before) this.options.log.warn(refused.reason);
    else if (refused === undefined && before !== undefined)
      this.options.log.info("resolved: this node's record can be published again");
  }

  #storeRejected(): void {
    const refused = [...this.#rejected, ...(this.#ownRejection === undefined ? [] : [this.#ownRejection])];
    this.options.rejected.put("directory", refused);
  }

  #logChange({ put, remove, rejected }: DirectoryChange): void {
    const { log } = this.options;
    const before = new Map(this.#rejected.map(({ file, reason }) => [file, reason]));
    const newlyRefused = rejected.filter(({ file, reason }) => before.get(file) !== reason);
    this.#logFew(put, ({ name }) => log.info("record accepted", { peer: name }));
    this.#logFew(remove, (name) => log.info("record deleted, peer removed", { peer: name }));
    this.#logFew(newlyRefused, ({ file, reason }) => log.warn("record rejected", { file, reason }));
  }

  #logFew<T>(items: readonly T[], log: (item: T) => void): void {
    for (const item of items.slice(0, maxLogLines)) log(item);
    if (items.length > maxLogLines)
      this.options.log.info(`and ${items.length - maxLogLines} more; \`wg-cni peer list\` has them all`);
  }
}

/** Returns a sentence if the directory as a whole has a problem. */
function describeProblem(
  { doubt }: DirectoryChange,
  { leftOut }: DirectorySnapshot,
  directory: string,
): string | undefined {
  if (doubt !== undefined) return doubt;
  if (leftOut === 0) return undefined;
  return `${directory} has more records than are accepted: ${leftOut} are left out, by name the last of those that were no peers before.`;
}
