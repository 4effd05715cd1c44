// The watched directory of node records: what a file in it is worth, and what of
// the store has to change so that it says what the directory says. A file speaks
// for one node, the one that it is named after, so that file permissions say
// who may write whose record. What a record may claim is record.ts and
// peers/claims.ts, as for records that were imported. Pure.
//
//   file                              peer of the directory
//   good                              as the record says; a peer imported before is replaced
//   refused (half-written, garbage)   stays as it was
//   gone                              leaves
//   all gone at once                  stay: the filesystem is probably not mounted
import { ParseError } from "../../net/error.ts";
import { escapeControls } from "../../net/printable.ts";
import type { NodeRecord } from "../../net/record.ts";
import { parseRecord } from "./record.ts";

/** The result for one file: the record of the node that it is named after, or the reason of its rejection. */
export type JudgedRecord = { readonly record: NodeRecord } | { readonly reason: string };

export interface DirectoryView {
  readonly directory: string;
  /** This node's name; its own file is written, never read as a peer's. */
  readonly ownName?: string;
  /** The key is the file name. This node's own file is not in the map. */
  readonly verdicts: ReadonlyMap<string, JudgedRecord>;
  /** The names of all record files, also of those that were not read. */
  readonly present: ReadonlySet<string>;
  /** True if the directory held no record of another node in the last pass either. */
  readonly wasDoubtful: boolean;
}

/** A peer as the store has it. */
export interface KnownPeer {
  readonly record: NodeRecord;
  readonly source: "import" | "directory" | "kube";
}

export interface RejectedFile {
  /** The name, escaped for display. It is the directory itself if the reason concerns all of it. */
  readonly file: string;
  readonly reason: string;
}

export interface DirectoryChange {
  /** Known peers first: of two that claim the same, the store takes the one that is put first as the owner. */
  readonly put: readonly NodeRecord[];
  /** Names of peers that leave. */
  readonly remove: readonly string[];
  /** By file. */
  readonly rejected: readonly RejectedFile[];
  /** A sentence, present if the directory is not believed and the peers stay. */
  readonly doubt?: string;
}

/** The only name that a node's record may have. */
export function recordFile(name: string): string {
  return `${name}.json`;
}

/** True for what should be a record: not for temporary files, nor for what else lies there. */
export function isRecordFile(file: string): boolean {
  return file.endsWith(".json") && !file.startsWith(".");
}

/** Judges a file by its text. */
export function judgeRecord(file: string, text: string, ownName?: string): JudgedRecord {
  try {
    const json = parseJson(text);
    const record = parseRecord(json, "record");
    requireSlots(json, "record");
    const { name } = record;
    if (recordFile(name) === file) return { record };
    return rejectRecord(
      name === ownName
        ? `it holds a record of this node, ${name}, which writes its own to ${recordFile(name)}: remove the file`
        : `it holds the record of ${name}: call it ${recordFile(name)}`,
    );
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return rejectRecord(error.message);
  }
}

/**
 * A record that does not mention its slots does not say that its node has no key: its writer
 * left out what matters most, and the peer would be reached in plaintext. Throws ParseError.
 */
export function requireSlots(json: unknown, path: string): void {
  if ((json as { readonly slots?: unknown }).slots === undefined)
    throw new ParseError(`${path}.slots: is missing; the record of a node without a key has an empty list`);
}

export function rejectRecord(reason: string): JudgedRecord {
  const shown = escapeControls(reason);
  return { reason: shown.length > maxReasonLength ? `${shown.slice(0, maxReasonLength - 1)}…` : shown };
}

/** Plans the changes to the store. */
export function planDirectory(view: DirectoryView, peers: readonly KnownPeer[]): DirectoryChange {
  const { directory, verdicts, present, ownName } = view;
  const before = new Map(peers.map((peer) => [peer.record.name, peer]));
  const known = peers.filter(({ source }) => source === "directory").map(({ record }) => record.name);
  const gone = known.filter((name) => name === ownName || !present.has(recordFile(name)));
  const records = [...verdicts.values()].flatMap((verdict) => ("record" in verdict ? [verdict.record] : []));
  const doubtful = records.length === 0 && gone.length === known.length && isDoubtful(view, known.length);
  return {
    put: records
      .filter((record) => !isAsBefore(record, before.get(record.name)))
      .sort((a, b) => Number(before.has(b.name)) - Number(before.has(a.name)) || byName(a, b)),
    remove: doubtful ? [] : gone,
    rejected: explainRejections(verdicts, new Set(known)),
    ...(doubtful ? { doubt: explainDoubt(directory, known.length) } : {}),
  };
}

/**
 * No record is left of `known` peers. One may have left; several leave one after the other. A directory
 * without this node's own record is another one, and stays in doubt when we have written to it.
 */
function isDoubtful({ present, ownName, wasDoubtful }: DirectoryView, known: number): boolean {
  const ownIsThere = ownName !== undefined && present.has(recordFile(ownName));
  return known > 1 || (known === 1 && (wasDoubtful || !ownIsThere));
}

function explainDoubt(directory: string, known: number): string {
  const came = known === 1 ? "a peer came" : `${known} peers came`;
  return `No record of another node is left in ${directory} although ${came} from it: is its filesystem mounted? The peers stay; \`wg-cni peer remove\` takes one away for good.`;
}

function explainRejections(
  verdicts: ReadonlyMap<string, JudgedRecord>,
  known: ReadonlySet<string>,
): readonly RejectedFile[] {
  const rejected = [...verdicts].flatMap(([file, verdict]) => {
    if ("record" in verdict) return [];
    const stays = known.has(file.slice(0, -".json".length)) ? "; the record taken before stays" : "";
    // Two names that differ must still differ when shown.
    return [{ file: escapeControls(file.replaceAll("\\", "\\\\")), reason: `${verdict.reason}${stays}` }];
  });
  return rejected.sort((a, b) => (a.file < b.file ? -1 : 1));
}

/** A record from the Kubernetes API has priority over one from a file. */
function isAsBefore(record: NodeRecord, peer: KnownPeer | undefined): boolean {
  if (peer?.source === "kube") return true;
  return peer?.source === "directory" && JSON.stringify(peer.record) === JSON.stringify(record);
}

function byName(a: NodeRecord, b: NodeRecord): number {
  return a.name < b.name ? -1 : 1;
}

function parseJson(text: string): unknown {
  if (text.trim() === "") throw new ParseError("it is empty");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ParseError(`it is not JSON (${(error as Error).message.replace("JSON Parse error: ", "")})`);
  }
}

/** More says no more; what a file holds may be of any length. */
const maxReasonLength = 300;
