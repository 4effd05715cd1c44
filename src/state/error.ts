// The error of this directory: a refusal of SQLite or the filesystem, as a sentence with a remedy.
// cni/error.ts chooses its CNI code.
import { ExposureError } from "../linux/private.ts";
import { SysError } from "../linux/syscall.ts";
import { messageOf } from "../net/error.ts";

/**
 * "busy": held by another process for longer than we wait; "full": no space;
 * "readonly": may not be written; "corrupt": damaged or not ours; "version":
 * written by a newer wg-cni; "exposed": another user's, or made by one;
 * "io": anything else the system refused.
 */
export type StoreErrorKind = "busy" | "full" | "readonly" | "corrupt" | "version" | "exposed" | "io";

/** The state cannot be read or written. Its content is unknown, which is not the same as empty. */
export class StoreError extends Error {
  override readonly name = "StoreError";

  constructor(
    readonly kind: StoreErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The StoreError that a failure of SQLite or of a system call stands for; undefined for any other. */
export function findStoreError(path: string, error: unknown): StoreError | undefined {
  if (error instanceof StoreError) return error;
  if (error instanceof ExposureError)
    return new StoreError("exposed", `Cannot use the state in ${path}: ${error.message}`, { cause: error });
  const kind = kindOf(error);
  if (kind === undefined) return undefined;
  const reason = messageOf(error);
  return new StoreError(kind, `Cannot use the state in ${path}: ${explain(kind, path, reason)}`, {
    cause: error,
  });
}

/** The file is there but is not a state that we can read. */
export function corruptError(path: string, reason: string, cause?: unknown): StoreError {
  return new StoreError("corrupt", `Cannot use the state in ${path}: ${explain("corrupt", path, reason)}`, {
    cause,
  });
}

/** A newer wg-cni has been here: what it meant is not guessed at. */
export function newerVersionError(path: string, version: number, known: number): StoreError {
  const reason = `its version is ${version} and this wg-cni knows only ${known}`;
  return new StoreError(
    "version",
    `Cannot use the state in ${path}: ${reason}. Install the newer wg-cni again, which wrote it.`,
  );
}

function kindOf(error: unknown): Exclude<StoreErrorKind, "exposed"> | undefined {
  if (error instanceof SysError) return kindOfErrno(error.code);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (!code.startsWith("SQLITE_")) return undefined;
  // Extended codes begin with their primary one: SQLITE_BUSY_SNAPSHOT, SQLITE_READONLY_DBMOVED.
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) return "busy";
  if (/^SQLITE_(FULL|IOERR_SHMSIZE)/.test(code)) return "full";
  if (/^SQLITE_READONLY/.test(code)) return "readonly";
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return "corrupt";
  return "io";
}

function kindOfErrno(code: string): Exclude<StoreErrorKind, "exposed"> {
  if (code === "EAGAIN") return "busy";
  if (code === "ENOSPC" || code === "EDQUOT") return "full";
  return code === "EROFS" || code === "EACCES" || code === "EPERM" ? "readonly" : "io";
}

function explain(kind: Exclude<StoreErrorKind, "exposed">, path: string, reason: string): string {
  switch (kind) {
    case "busy":
      return `another process keeps it locked (${reason}). Try again; \`fuser ${path}\` shows who holds it.`;
    case "full":
      return `no space is left on its filesystem (${reason}). Free some and try again.`;
    case "readonly":
      return `it cannot be written (${reason}). Make the filesystem writable, or choose another stateDir.`;
    case "corrupt":
      return `it is damaged (${reason}). Stop the agent and run \`wg-cni doctor --repair\`, which keeps what can be read and says what cannot. Or restore a backup.`;
    case "version":
    case "io":
      return `${reason}. Look at the directory, its filesystem and the kernel's log.`;
  }
}
