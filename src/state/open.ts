// Opening state.db, and creating it if there is none. A file gets its name
// only when it is complete, so a process that sees it sees all its tables, and an
// empty or damaged one is never taken for a new node's.
import {
  closeFd,
  createFile,
  exists,
  isAbsent,
  mkdir,
  openFile,
  rename,
  syncDirectory,
  unlink,
} from "../linux/file.ts";
import { withFileLock } from "../linux/lock.ts";
import { closeDirectory, closeFile } from "../linux/private.ts";
import { busyTimeoutMs, Connection } from "./connection.ts";
import { corruptError, findStoreError, newerVersionError, type StoreError } from "./error.ts";
import { identityCopyName, repairIdentity } from "./identity.ts";
import { type Migration, migrations as ourMigrations } from "./schema.ts";

const O_RDWR = 2;
const sqliteSuffixes = ["", "-wal", "-shm", "-journal"];
const others = [identityCopyName, "agent.lock", "state.lock", "sync.lock", "write.lock"];

/** Opens `stateDir`/state.db, creating or migrating it if needed. Throws StoreError. */
export function openState(stateDir: string, migrations: readonly Migration[] = ourMigrations): Connection {
  const path = `${stateDir}/state.db`;
  try {
    closeState(stateDir);
    // SQLite is asked only for a file that is there: if it finds none to write to, it tries once more to
    // read only, and would keep one so that has appeared in between (os_unix.c, unixOpen).
    const connection = exists(path) ? new Connection(path) : createState(stateDir, path, migrations);
    return withSchema(connection, stateDir, migrations);
  } catch (error) {
    throw diagnose(stateDir, findStoreError(path, error)) ?? error;
  }
}

/**
 * Files that were there before us, or that other users may read since, are closed to them: a user who can read the
 * database can hold a lock on it. The directory comes first; then no other user can replace what is in it.
 */
function closeState(stateDir: string): void {
  closeDirectory(stateDir, isOurs);
  for (const suffix of sqliteSuffixes) closeFile(`${stateDir}/state.db${suffix}`);
  for (const name of others) closeFile(`${stateDir}/${name}`);
}

/**
 * Names that this code, the agent and the plugin make in the directory, and those that a file system makes by
 * itself. Earlier builds named the call log verbs.log.
 */
function isOurs(name: string): boolean {
  return /^(state|identity|write|sync|agent|plugin|calls|verbs)\.|^seal\.key|^lost\+found$/.test(name);
}

/**
 * Finds out why the store cannot be opened. SQLite reports only "unable to open" if the filesystem is
 * read-only. The test uses the lock file, because closing another descriptor of the database would drop
 * the locks that this process has on it (fcntl(2)).
 */
function diagnose(stateDir: string, error: StoreError | undefined): StoreError | undefined {
  if (error?.kind !== "io") return error;
  try {
    closeFd(openFile(`${stateDir}/state.lock`, O_RDWR));
    return error;
  } catch (reason) {
    return isAbsent(reason) ? error : findStoreError(`${stateDir}/state.db`, reason);
  }
}

function createState(stateDir: string, path: string, migrations: readonly Migration[]): Connection {
  mkdir(stateDir, 0o700);
  return locked(stateDir, () => {
    if (!exists(path)) {
      makeFile(path, migrations);
      syncDirectory(stateDir);
    }
    return new Connection(path);
  });
}

/** Makes the whole file under another name, with what `fill` adds to it, then names it. */
export function makeFile(
  path: string,
  migrations: readonly Migration[],
  fill: (connection: Connection) => void = () => undefined,
): void {
  const draft = `${path}.new`;
  // One that another process began and did not live to finish.
  for (const suffix of sqliteSuffixes) unlink(draft + suffix);
  createFile(draft, "", 0o600);
  {
    using connection = new Connection(draft);
    connection.execute("PRAGMA journal_mode = WAL");
    migrate(connection, 0, migrations);
    fill(connection);
    // Closing empties the log, too, but reports no failure: the file would be incomplete.
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  rename(draft, path);
}

/** Checks which migrations the file has had; brings it up to date under the lock. */
function withSchema(connection: Connection, stateDir: string, migrations: readonly Migration[]): Connection {
  try {
    if (schemaVersion(connection) !== migrations.length)
      locked(stateDir, () => bringUpToDate(connection, migrations));
    return connection;
  } catch (error) {
    connection[Symbol.dispose]();
    throw error;
  }
}

function bringUpToDate(connection: Connection, migrations: readonly Migration[]): void {
  const version = schemaVersion(connection);
  if (version === 0) throw corruptError(connection.path, "it is empty or not one of wg-cni's");
  if (version > migrations.length) throw newerVersionError(connection.path, version, migrations.length);
  migrate(connection, version, migrations);
  repairIdentity(connection);
}

function migrate(connection: Connection, from: number, migrations: readonly Migration[]): void {
  connection.transaction(() => {
    for (const migration of migrations.slice(from))
      if (typeof migration === "string") connection.execute(migration);
      else migration(connection);
    connection.execute(`PRAGMA user_version = ${migrations.length}`);
    connection.flushAtCommit();
  });
}

function schemaVersion(connection: Connection): number {
  return connection.find<{ user_version: number }>("PRAGMA user_version")?.user_version ?? 0;
}

/** One process at a time makes, migrates or rebuilds the file. */
export function locked<T>(stateDir: string, inside: () => T): T {
  return withFileLock(`${stateDir}/state.lock`, busyTimeoutMs, inside);
}
