// Checksums of rows. SQLite finds a page that makes no sense, but not a changed byte within a value: a disk
// may return another key or address than was written. They guard against damage and not against an attacker,
// who could make them anew.
import type { Connection } from "./connection.ts";
import { corruptError } from "./error.ts";

/** Returns the checksum of a row's values, in the order of its columns. xxHash64 costs a process nothing to set up. */
export function rowSum(...values: readonly (string | number | null)[]): string {
  return Bun.hash.xxHash64(JSON.stringify(values)).toString(16).padStart(16, "0");
}

/** Throws StoreError if a row is not what was written. */
export function checkSum(db: Connection, what: string, found: string, expected: string): void {
  if (found !== expected) throw corruptError(db.path, `${what} is not what was written`);
}
