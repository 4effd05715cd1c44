// The records directory (setting recordsDir) as a source of records. The meaning of a file, and of its
// absence, is decided in plan/records/directory.ts.
import { DirectoryWatch } from "../../fswatch/directory-watch.ts";
import { stampOf } from "../../fswatch/stamp.ts";
import { Backoff } from "../../net/backoff.ts";
import type { NodeRecord } from "../../net/record.ts";
import { directoryAbsences, recordFile } from "../../plan/records/directory.ts";
import type { Log } from "../../telemetry/log.ts";
import { Publisher } from "../publisher.ts";
import type {
  Publication,
  RecordSnapshot,
  RecordSource,
  SourceLabels,
  SourceStatus,
} from "../record-source.ts";
import { RecordReader, settleMs } from "./cache.ts";
import { compareRecordFile, publishRecord, RecordsError, recordText } from "./files.ts";

export interface DirectorySourceOptions {
  readonly log: Log;
  /** Is called when something in the directory has changed. */
  readonly onChange: () => void;
  /** Returns the names of the peers that came from the directory. */
  readonly peers: () => ReadonlySet<string>;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

export class DirectorySource implements RecordSource {
  readonly name = "directory";
  readonly labels: SourceLabels;
  readonly #reader: RecordReader;
  readonly #publisher: Publisher<NodeRecord>;
  #watch: DirectoryWatch | undefined;
  #snapshot: RecordSnapshot | undefined;
  #status: SourceStatus = { isCurrent: false };
  /** When the directory must be read again, even if nothing seems to change. */
  #dueMs = Number.NEGATIVE_INFINITY;
  /** The text and the stamp of the own file when it was last compared and had that text. */
  #own: { readonly text: string; readonly stamp: string } | undefined;

  constructor(
    private readonly directory: string,
    ownName: string | undefined,
    private readonly options: DirectorySourceOptions,
  ) {
    const own = recordFile(ownName ?? "");
    this.labels = { place: directory, records: directory, own };
    this.#reader = new RecordReader(directory, ownName);
    this.#publisher = new Publisher({
      ...{ log: options.log, now: options.now, onAnswer: options.onChange },
      compare: (record) => this.#compare(record),
      write: (record) => void publishRecord(directory, record),
      explain: explainError,
      // A write that fails costs little, so every pass may try again.
      backoff: new Backoff({ firstMs: 0, longestMs: 0 }, () => 0),
      explainRace: () =>
        `Another process overwrites ${directory}/${own} repeatedly: is there another node with the name ${ownName}? Give one of the two another with \`wg-cni up --node\`.`,
    });
  }

  [Symbol.dispose](): void {
    this.#watch?.[Symbol.dispose]();
    this.#publisher[Symbol.dispose]();
  }

  get status(): SourceStatus {
    return this.#status;
  }

  start(): void {
    this.#watch = new DirectoryWatch(this.directory, this.options.onChange);
  }

  snapshot(): RecordSnapshot | undefined {
    if (this.#watch === undefined) return undefined;
    try {
      this.#snapshot = this.#read(this.#watch);
    } catch (error) {
      const problem = `${explainError(error)} Until then the peers stay as they are.`;
      this.#status = { isCurrent: false, problem };
    }
    return this.#snapshot;
  }

  /** A directory that cannot be read has a problem already, so nothing is added to it. */
  publish(record: NodeRecord): Publication {
    return this.#status.isCurrent ? this.#publisher.publish(record) : { done: false };
  }

  /** Throws RecordsError. */
  #read(watch: DirectoryWatch): RecordSnapshot {
    const { directory } = this;
    const listChanged = watch.checkForChange();
    const nowMs = this.options.now();
    const { entries, hasOwn, settled, leftOut } = this.#reader.read(nowMs, this.options.peers);
    // An earlier time wins over a later one: files may be unsettled in every pass.
    if ((listChanged || !settled) && this.#dueMs <= nowMs) this.#dueMs = nowMs + settleMs;
    this.#status = {
      isCurrent: true,
      ...(leftOut === 0 ? {} : { problem: explainBound(directory, leftOut) }),
    };
    return {
      ...{ entries, isComplete: true, rule: directoryAbsences(directory, hasOwn) },
      ...(this.#dueMs <= nowMs ? {} : { wakeInMs: this.#dueMs - nowMs }),
    };
  }

  /** A file that is absent is written at once, however often: the filesystem may be another one now. */
  #compare(record: NodeRecord): "same" | "other" | "absent" {
    const path = `${this.directory}/${recordFile(record.name)}`;
    const text = recordText(record);
    // The stamp is read before the comparison, so that a later write by another process changes it.
    const stamp = stampOf(path);
    if (stamp !== "" && this.#own?.text === text && this.#own.stamp === stamp) return "same";
    const found = compareRecordFile(path, text);
    if (found === "same") this.#own = { text, stamp };
    return found;
  }
}

/** Returns a sentence. Throws an error that is not about the directory. */
function explainError(error: unknown): string {
  if (error instanceof RecordsError) return error.message;
  throw error;
}

function explainBound(directory: string, leftOut: number): string {
  return `${directory} has more records than are accepted: ${leftOut} are left out, by name the last of those that were no peers before.`;
}
