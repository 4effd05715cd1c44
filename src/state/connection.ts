// One connection to the SQLite file: statements prepared when first used,
// transactions, a bound on the write-ahead log, errors as StoreError. Knows no table.
//
// Processes leave by exit_group without closing, and the next one then rebuilds
// the log's index from the whole log. So the log is kept short here: SQLite's
// own checkpoints forget how far they got when the last holder is gone, and the
// log would grow for ever.
import { Database, type SQLQueryBindings, type Statement } from "bun:sqlite";
import { closeFd, openFile } from "../linux/file.ts";
import { lockFile } from "../linux/lock.ts";
import { syscall } from "../linux/syscall.ts";
import { corruptError, findStoreError } from "./error.ts";

const SQLITE_OPEN_READWRITE = 2;
/** The longest wait for a lock. */
export const busyTimeoutMs = 5000;
/** 256 KiB of log at most, beside one transaction: 0.1 ms to read at the next open. */
const maxLogPages = 64;

type Value = SQLQueryBindings;

export class Connection implements Disposable {
  readonly path: string;
  readonly #database: Database;
  readonly #statements = new Map<string, Statement>();
  #depth = 0;
  #questions = 0;
  #configured = false;
  #mustFlush = false;
  #kept: (() => void) | undefined;

  /** Opens a file that exists. Throws StoreError. */
  constructor(path: string) {
    this.path = path;
    this.#database = this.#guard(() => new Database(path, SQLITE_OPEN_READWRITE));
    this.execute(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
  }

  /** A text that is another one after every commit, whichever process made it, and in each question of a transaction. */
  get version(): string {
    // A transaction may be undone, and with it what was read in it.
    if (this.isWriting) return `in a transaction ${++this.#questions}`;
    const others = this.find<{ data_version: number }>("PRAGMA data_version")?.data_version;
    const own = this.find<{ changes: number }>("SELECT total_changes() AS changes")?.changes;
    return `${others} ${own}`;
  }

  /** Runs statements that return nothing and are used once. */
  execute(sql: string): void {
    this.#guard(() => this.#database.run(sql));
  }

  find<Row>(sql: string, ...values: Value[]): Row | undefined {
    return this.#guard(() => (this.#prepare(sql).get(...values) as Row | null) ?? undefined);
  }

  all<Row>(sql: string, ...values: Value[]): Row[] {
    return this.#guard(() => this.#prepare(sql).all(...values) as Row[]);
  }

  /** Reads rows one by one, so that those before a damaged page are seen. Throws StoreError at that page. */
  each<Row>(sql: string, visit: (row: Row) => void): void {
    this.#guard(() => {
      for (const row of this.#database.prepare(sql).iterate()) visit(row as Row);
    });
  }

  /** Changes rows, inside `transaction`; returns how many. */
  change(sql: string, ...values: Value[]): number {
    return this.#guard(() => this.#prepare(sql).run(...values).changes);
  }

  /**
   * Runs `inside` as one transaction, all or nothing. Within another it is a
   * part of that one, and is undone alone if it throws and the caller goes on.
   */
  transaction<T>(inside: () => T): T {
    return this.#depth === 0 ? this.#outermost(inside) : this.#nested(inside);
  }

  /** Does the same as `transaction`, but a failure within another one is undone only with all of that. */
  join<T>(inside: () => T): T {
    return this.#depth === 0 ? this.#outermost(inside) : inside();
  }

  /** True within a transaction, which may still be undone. */
  get isWriting(): boolean {
    return this.#depth > 0;
  }

  /** Makes the current transaction one that survives a power failure, not only a crash. */
  flushAtCommit(): void {
    this.#mustFlush = true;
  }

  /**
   * Makes the current transaction one that is in the database file itself when it returns, and then calls `keep`,
   * before any other process writes. If `keep` throws, the transaction is committed all the same.
   */
  keepAtCommit(keep: () => void): void {
    this.#mustFlush = true;
    this.#kept = keep;
  }

  /** Returns the value of a JSON column. Throws StoreError if it holds something else. */
  parseJson(text: string, what: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw corruptError(this.path, `${what} is not JSON`, error);
    }
  }

  [Symbol.dispose](): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.#database.close();
  }

  /**
   * Lets one process after the other write, by a lock beside the file: many processes that wait for
   * SQLite's own lock sleep up to 100 ms at a time, much longer than it is held.
   */
  #outermost<T>(inside: () => T): T {
    this.#configureForWriting();
    const directory = this.path.slice(0, this.path.lastIndexOf("/"));
    const turn = this.#guard(() => lockFile(`${directory}/write.lock`, busyTimeoutMs));
    try {
      return this.#write(inside);
    } finally {
      closeFd(turn);
    }
  }

  #write<T>(inside: () => T): T {
    this.#mustFlush = false;
    this.#kept = undefined;
    // IMMEDIATE: waits for the lock at the start. A read that turns into a write
    // later could not wait (SQLITE_BUSY_SNAPSHOT).
    this.execute("BEGIN IMMEDIATE");
    const result = this.#nest("ROLLBACK", () => {
      const value = inside();
      this.execute("COMMIT");
      return value;
    });
    if (this.#mustFlush) this.#flushLog();
    this.#shortenLog(this.#kept === undefined ? maxLogPages : 1);
    this.#guard(() => this.#kept?.());
    return result;
  }

  #nested<T>(inside: () => T): T {
    const name = `nested${this.#depth}`;
    this.execute(`SAVEPOINT ${name}`);
    return this.#nest(`ROLLBACK TO ${name}; RELEASE ${name}`, () => {
      const value = inside();
      this.execute(`RELEASE ${name}`);
      return value;
    });
  }

  #nest<T>(undo: string, inside: () => T): T {
    this.#depth++;
    try {
      return inside();
    } catch (error) {
      // A full disk or an I/O error has undone the whole transaction already.
      if (this.#database.inTransaction) this.#database.run(undo);
      throw error;
    } finally {
      this.#depth--;
    }
  }

  #configureForWriting(): void {
    if (this.#configured) return;
    // No fsync at each commit: after a power failure the last attachments may be
    // missing, and a boot drops them anyway. Intent is flushed by #flushLog.
    this.execute("PRAGMA synchronous = NORMAL");
    this.#configured = true;
  }

  /** Another descriptor may be closed without harm: SQLite's locks are on the other two files. */
  #flushLog(): void {
    const log = `${this.path}-wal`;
    this.#guard(() => {
      const fd = openFile(log);
      try {
        syscall("fsync", log, fd);
      } finally {
        closeFd(fd);
      }
    });
  }

  /** `enough`: from how many pages on. */
  #shortenLog(enough: number): void {
    const row = this.find<{ log: number }>("PRAGMA wal_checkpoint(NOOP)");
    if (row === undefined || row.log < enough) return;
    // Readers of older pages are not waited for: the next commit tries again.
    this.execute("PRAGMA busy_timeout = 0");
    try {
      this.#database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    } catch {
      // The transaction is committed: a disk that refuses this says so to the next one.
    } finally {
      this.execute(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    }
  }

  #prepare(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #guard<T>(inside: () => T): T {
    try {
      return inside();
    } catch (error) {
      throw findStoreError(this.path, error) ?? error;
    }
  }
}
