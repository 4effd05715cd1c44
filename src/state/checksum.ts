// Checksums of rows. SQLite finds a page that makes no sense, but not a changed byte within a value: a disk
// may return another key or address than was written. They guard against damage and not against an attacker,
// who could make them anew.
import type { Connection } from "./connection.ts";
import { corruptError } from "./error.ts";

/** Returns the checksum of a row's values, in the order of its columns. xxHash64 costs a process nothing to set up. */
export function rowSum(...values: readonly (string | number | null)[]): string {
  return Bun.hash.xxHash64(JSON.stringify(values)).toString(16).padStart(16, "0");
}

/**
 * A row of an older build has this as its checksum: an agent goes on until it is restarted, while the new plugin has
 * migrated the store under it. A damaged page may give rows that lack the column, too: readers look closer at such a row.
 */
export const noSum = "";

/** True if a text of a row without a checksum is JSON, and the value is what it has to be. */
export function parses(
  text: unknown,
  isRight: (value: Readonly<Record<string, unknown>>) => boolean,
): boolean {
  try {
    const value: unknown = JSON.parse(String(text));
    return typeof value === "object" && value !== null && isRight(value as Readonly<Record<string, unknown>>);
  } catch {
    return false;
  }
}

/** Throws StoreError if a row is not what was written. */
export function checkSum(db: Connection, what: string, found: string, expected: string): void {
  if (found !== expected) throw corruptError(db.path, `${what} is not what was written`);
}
