// Lists, reads and writes the files of the records directory. A file may be anything and may change
// at any moment, so nothing here blocks, follows a link or reads more than a bound. The meaning of a
// record is decided in plan/records/directory.ts. Failures are RecordsError: sentences with a remedy.
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { stampOf } from "../../fswatch/stamp.ts";
import { readBootId } from "../../linux/boot.ts";
import { findSystemFailure } from "../../linux/errno.ts";
import { attempt } from "../../net/error.ts";
import type { NodeRecord } from "../../net/record.ts";
import { isRecordFile, recordFile } from "../../plan/records/directory.ts";

/** Five times what the largest record takes that parses (4,096 pod CIDRs): no record is larger. */
export const maxFileBytes = 1024 * 1024;

/** The directory, or a file in it, cannot be used. */
export class RecordsError extends Error {
  override readonly name = "RecordsError";
}

/** Names of all record files. Throws RecordsError. */
export function listRecordFiles(directory: string): string[] {
  return onDisk(`Cannot read the records directory ${directory}`, remedy, () =>
    readdirSync(directory).filter(isRecordFile),
  );
}

/** Reads the text of a regular file. Throws RecordsError with the reason if it is not one or cannot be read. */
export function readRecordFile(path: string): string {
  return onDisk("it cannot be read", noRemedy, () => {
    const fd = openRegular(path);
    try {
      if (!fstatSync(fd).isFile()) throw notRegular();
      return readText(fd);
    } finally {
      closeSync(fd);
    }
  });
}

/** Pipes and devices are not opened; if one replaces the file meanwhile, opening it does not block. */
function openRegular(path: string): number {
  if (!lstatSync(path).isFile()) throw notRegular();
  return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
}

function notRegular(): RecordsError {
  return new RecordsError("it is not a regular file: links, directories, pipes and devices are not followed");
}

function readText(fd: number): string {
  // One byte more shows whether the file is longer.
  let buffer = new Uint8Array(Math.min(fstatSync(fd).size, maxFileBytes) + 1);
  let length = 0;
  for (;;) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    if (count === 0) return new TextDecoder().decode(buffer.subarray(0, length));
    length += count;
    if (length > maxFileBytes)
      throw new RecordsError(
        `it is larger than ${maxFileBytes / 1024 / 1024} MiB, five times what the largest record takes`,
      );
    if (length === buffer.length) buffer = grown(buffer);
  }
}

function grown(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(2 * buffer.length, maxFileBytes) + 1);
  larger.set(buffer);
  return larger;
}

/** The text that a record is published as: what `node show --json` prints. */
export function recordText(record: NodeRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** "absent", "same" as `text`, or "other": anything else that has the name. */
export function compareRecordFile(path: string, text: string): "absent" | "same" | "other" {
  if (stampOf(path) === "") return "absent";
  try {
    return readRecordFile(path) === text ? "same" : "other";
  } catch (error) {
    if (error instanceof RecordsError) return "other";
    throw error;
  }
}

/**
 * Writes a node's record to its file if it differs. Readers see either the old or the new record,
 * complete. Returns true if it wrote. Throws RecordsError.
 */
export function publishRecord(directory: string, record: NodeRecord): boolean {
  const path = `${directory}/${recordFile(record.name)}`;
  const text = recordText(record);
  if (compareRecordFile(path, text) === "same") return false;
  // A dot: no reader takes it. No other process on any machine has the name; a node's may be as long as a file's.
  const temporary = `${directory}/.${record.name.slice(0, 100)}.${readBootId()}.${process.pid}.tmp`;
  onDisk(`Cannot publish this node's record as ${path}`, remedy, () => {
    try {
      writeNew(temporary, text);
      renameSync(temporary, path);
    } catch (error) {
      remove(temporary);
      throw error;
    }
  });
  return true;
}

/** Complete and on disk before it gets its name, or a power failure could leave an empty record. */
function writeNew(path: string, text: string): void {
  remove(path);
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    writeFileSync(fd, text);
    // All users may read it, whatever the umask is: it has public keys only.
    fchmodSync(fd, 0o644);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Removes a temporary file of this process or of one that was killed. */
function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // The file is absent, or the directory refuses; then the next operation reports that.
  }
}

/** Turns a system error into a sentence: `what` failed, why, and the remedy. */
function onDisk<T>(what: string, remedy: (code: string) => string, action: () => T): T {
  return attempt(Error, action, (error) => {
    const failure = findSystemFailure(error);
    if (error instanceof RecordsError || failure === undefined) throw error;
    throw new RecordsError(`${what}: ${failure.reason}${remedy(failure.code)}`, { cause: error });
  });
}

const noRemedy = () => "";

function remedy(code: string): string {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return ". Create the directory or mount it, or choose another with `wg-cni up --records-dir`.";
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return ". Let the agent write there, or choose another directory with `wg-cni up --records-dir`.";
    case "ENOSPC":
    case "EDQUOT":
      return ". Free some space on its filesystem.";
    default:
      return ". Check the directory, its filesystem and the kernel's log.";
  }
}
