// Judges the files of the records directory, and decides when the absence of a file is believed. A file has
// the record of the one node that it is named after, so that file permissions decide which user may write
// which record. record.ts and peers/claims.ts bound its claims, as for records that were imported.
// peer-changes.ts plans the changes of the peers. Pure.
import { ParseError } from "../../net/error.ts";
import { escapeControls } from "../../net/printable.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { AbsenceRule, RecordEntry } from "./peer-changes.ts";
import { parseRecord } from "./record.ts";

/** The result for one file: the record of the node that it is named after, or the reason of its rejection. */
export type JudgedRecord = { readonly record: NodeRecord } | { readonly reason: string };

/** Returns the only file name that a node's record may have. */
export function recordFile(name: string): string {
  return `${name}.json`;
}

/** Returns the node that a file has the record of. */
export function recordName(file: string): string {
  return file.slice(0, -".json".length);
}

/** True for files that should be records: not for temporary files, nor for any other files. */
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
 * Refuses a record without `slots`: this does not mean that the node has no key. The peer would be reached
 * in plaintext because its writer forgot the most important part. Throws ParseError.
 */
export function requireSlots(json: unknown, path: string): void {
  if ((json as { readonly slots?: unknown }).slots === undefined)
    throw new ParseError(`${path}.slots: is missing; the record of a node without a key has an empty list`);
}

export function rejectRecord(reason: string): JudgedRecord {
  const shown = escapeControls(reason);
  return { reason: shown.length > maxReasonLength ? `${shown.slice(0, maxReasonLength - 1)}…` : shown };
}

/** Converts a judged file to the entry of the node that it is named after. */
export function toEntry(file: string, judged: JudgedRecord): RecordEntry {
  // Two names that differ must still differ when shown.
  if ("reason" in judged)
    return { state: "rejected", file: escapeControls(file.replaceAll("\\", "\\\\")), reason: judged.reason };
  return { state: "valid", record: judged.record, createdAt: "", writtenAt: "", isEditedExternally: false };
}

/**
 * Files that are gone are believed at once, unless no record of another node is left: then the
 * filesystem is probably not mounted. One peer may have left; several leave one after the other. A
 * directory without this node's own record (`hasOwn`) is another one, and stays in doubt when we have
 * written to it.
 */
export function directoryAbsences(directory: string, hasOwn: boolean): AbsenceRule {
  return {
    waitMs: 0,
    doubtedWaitMs: Number.POSITIVE_INFINITY,
    isDoubtful: ({ known, gone, hasRecords, wasDoubtful }) =>
      !hasRecords && gone === known && (known > 1 || wasDoubtful || !hasOwn),
    explain: (_, known) => {
      const came = known === 1 ? "a peer came" : `${known} peers came`;
      return `No record of another node is left in ${directory} although ${came} from it: is its filesystem mounted? The peers stay; \`wg-cni peer remove\` takes one away for good.`;
    },
  };
}

function parseJson(text: string): unknown {
  if (text.trim() === "") throw new ParseError("it is empty");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ParseError(`it is not JSON (${(error as Error).message.replace("JSON Parse error: ", "")})`);
  }
}

/** The longest reason that is kept, because the text of a file may have any length. */
const maxReasonLength = 300;
