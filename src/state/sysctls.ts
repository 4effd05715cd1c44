// The table `sysctls`: values of the host from before we changed them. A row
// leaves only when its value has been put back.
import type { Connection } from "./connection.ts";
import type { SavedSysctl } from "./model.ts";

/** Keeps the first value: a later one is our own. */
export function insertSysctl(db: Connection, { path, before }: SavedSysctl): void {
  db.join(() => db.change("INSERT OR IGNORE INTO sysctls VALUES (?, ?)", path, before));
}

export function readSysctls(db: Connection): SavedSysctl[] {
  return db.all<SavedSysctl>("SELECT path, before FROM sysctls");
}

export function deleteSysctl(db: Connection, path: string): void {
  db.join(() => db.change("DELETE FROM sysctls WHERE path = ?", path));
}
