// Caches the judged files of one records directory, so that a pass over thousands of unchanged files
// reads none of them.

import { sizeOf, stampOf } from "../../fswatch/stamp.ts";
import { judgeRecord, recordFile, recordName, rejectRecord, toEntry } from "../../plan/records/directory.ts";
import type { RecordEntry } from "../../plan/records/peer-changes.ts";
import { listRecordFiles, maxFileBytes, RecordsError, readRecordFile } from "./files.ts";

/** Four times the largest supported cluster. */
const maxFiles = 20_000;
/** Bounds the bytes read in one pass; the rest waits for the next passes. Thousands of ordinary records are less. */
const maxBytesPerRead = 32 * 1024 * 1024;
/**
 * Two changes within one tick of a filesystem's clock leave the same stamp, so a file that has
 * just changed is read once more after this time; the coarsest clocks tick that slowly.
 */
export const settleMs = 2000;

export interface DirectoryContent {
  /** By the node's name, without this node; the same map and the same entries while the files say the same. */
  readonly entries: ReadonlyMap<string, RecordEntry>;
  /** True if the directory has this node's record. */
  readonly hasOwn: boolean;
  /** False if a file must be read once more after `settleMs`. */
  readonly settled: boolean;
  /** Number of files beyond the bound. */
  readonly leftOut: number;
}

/** A file that is there and was not read. */
const pending: RecordEntry = { state: "pending" };

interface CachedFile {
  readonly stamp: string;
  readonly digest: number | bigint;
  readonly entry: RecordEntry;
  /** When the stamp was seen first. */
  readonly sinceMs: number;
  /** True once nothing can change without changing the stamp. */
  readonly settled: boolean;
}

/** The bytes that a pass may still read. */
interface Budget {
  bytes: number;
}

export class RecordReader {
  #files = new Map<string, CachedFile>();
  #entries: ReadonlyMap<string, RecordEntry> = new Map();
  /** Files that did not fit into the last pass. */
  #waiting: ReadonlySet<string> = new Set();

  constructor(
    private readonly directory: string,
    private readonly ownName: string | undefined,
  ) {}

  /** Reads what has changed. `peers`: the peers of the directory; if there are too many files, theirs come first. Throws RecordsError. */
  read(nowMs: number, peers: () => ReadonlySet<string>): DirectoryContent {
    const listed = listRecordFiles(this.directory);
    const others = listed.filter((file) => file !== this.#ownFile);
    const files = others.length <= maxFiles ? others : chooseFiles(others, peers());
    const seen = new Map<string, CachedFile>();
    const waiting = new Set<string>();
    const vanished = new Set<string>();
    const budget = { bytes: maxBytesPerRead };
    for (const file of this.#inTurn(files)) {
      const known = this.#files.get(file);
      const found = this.#readFile(file, known, nowMs, budget);
      if (found === undefined) vanished.add(file);
      else if (found !== "later") seen.set(file, found);
      else if (known !== undefined) seen.set(file, known);
      if (found === "later") waiting.add(file);
    }
    this.#waiting = waiting;
    this.#files = seen;
    const left = others.filter((file) => !vanished.has(file));
    const entries = new Map(left.map((file) => [recordName(file), seen.get(file)?.entry ?? pending]));
    if (!isSame(entries, this.#entries)) this.#entries = entries;
    return {
      entries: this.#entries,
      hasOwn: others.length < listed.length,
      settled: waiting.size === 0 && [...seen.values()].every(({ settled }) => settled),
      leftOut: others.length - files.length,
    };
  }

  get #ownFile(): string | undefined {
    return this.ownName === undefined ? undefined : recordFile(this.ownName);
  }

  /** Files that waited come first, so that files which change constantly cannot starve them. */
  #inTurn(files: readonly string[]): readonly string[] {
    if (this.#waiting.size === 0) return files;
    const [first, rest] = [true, false].map((waits) =>
      files.filter((file) => this.#waiting.has(file) === waits),
    ) as [string[], string[]];
    return [...first, ...rest];
  }

  /** Returns undefined if the file has vanished since it was listed, "later" if the budget is used up. */
  #readFile(
    file: string,
    before: CachedFile | undefined,
    nowMs: number,
    budget: Budget,
  ): CachedFile | "later" | undefined {
    const stamp = stampOf(`${this.directory}/${file}`);
    const isSame = before?.stamp === stamp;
    if (isSame && (before.settled || nowMs - before.sinceMs < settleMs)) return before;
    // A name that is no UTF-8 cannot be asked for as it was listed.
    const isNamed = stamp !== "" || file.includes("\ufffd");
    if (!isNamed) return undefined;
    if (budget.bytes <= 0) return "later";
    budget.bytes -= costOf(stamp);
    const judged = this.#judge(file, before);
    return { ...judged, stamp, settled: isSame, sinceMs: isSame ? before.sinceMs : nowMs };
  }

  /** The same content is judged once. */
  #judge(file: string, before: CachedFile | undefined): Pick<CachedFile, "digest" | "entry"> {
    const content = this.#readContent(file);
    const digest = Bun.hash(JSON.stringify(content));
    if (digest === before?.digest) return before;
    const judged =
      "text" in content ? judgeRecord(file, content.text, this.ownName) : rejectRecord(content.reason);
    return { digest, entry: toEntry(file, judged) };
  }

  #readContent(file: string): { readonly text: string } | { readonly reason: string } {
    try {
      return { text: readRecordFile(`${this.directory}/${file}`) };
    } catch (error) {
      if (!(error instanceof RecordsError)) throw error;
      return { reason: error.message };
    }
  }
}

function isSame<T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>): boolean {
  return a.size === b.size && a.entries().every(([name, entry]) => b.get(name) === entry);
}

/** Bytes: what is read of a file whose stamp this is, and something for opening it. */
function costOf(stamp: string): number {
  return 1024 + Math.min(sizeOf(stamp), maxFileBytes);
}

/** A process that adds files must not be able to displace the records of known peers. */
function chooseFiles(files: readonly string[], peers: ReadonlySet<string>): string[] {
  const sorted = [...files].sort();
  const known = sorted.filter((file) => peers.has(recordName(file)));
  const isTaken = new Set(known);
  return [...known, ...sorted.filter((file) => !isTaken.has(file))].slice(0, maxFiles);
}
