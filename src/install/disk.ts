// `Disk` has the file operations of the installer. Each of them is atomic for concurrent
// readers. Texts have one character per byte. A failure becomes an InstallError, which is a
// sentence with a remedy.
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { findSystemFailure } from "../linux/errno.ts";
import { addName, exchange } from "../linux/file.ts";
import { lockTemporarily } from "../linux/lock.ts";
import { evict } from "../linux/page-cache.ts";
import { SysError } from "../linux/syscall.ts";
import { attempt } from "../net/error.ts";
import { formatBytes } from "../net/human-format.ts";

/** wg-cni cannot be installed or uninstalled; the message is a whole sentence with a remedy. */
export class InstallError extends Error {
  override readonly name = "InstallError";

  /** True if a file is missing that existed a moment before. */
  get isAbsence(): boolean {
    return (this.cause as { readonly code?: string } | undefined)?.code === "ENOENT";
  }
}

/** Runtimes read no configuration larger than 2 MiB; real ones have some KiB. */
const maxTextBytes = 1024 * 1024;
const blockBytes = 1024 * 1024;

/** The name of an unfinished file ends with this, so no runtime reads it as a configuration or a plugin. */
export const unfinished = ".wg-cni-unfinished";

/** Returns a hidden name in the same directory for the file that will become `path`. */
export function unfinishedName(path: string): string {
  const slash = path.lastIndexOf("/");
  return `${path.slice(0, slash)}/.${path.slice(slash + 1)}${unfinished}`;
}

/** Every method throws InstallError. */
export interface Disk {
  /** Returns the names of all entries except directories; undefined if the directory does not exist. */
  list(directory: string): readonly string[] | undefined;
  /** Returns true also for a link whose target cannot be reached from here. */
  has(path: string): boolean;
  /** Returns the path that links lead to. */
  resolve(path: string): string;
  /** Returns the text of a regular file. */
  read(path: string): string;
  /** Creates a file and flushes it to disk; mode and owner are those of `like`, otherwise 0644 and ours. */
  create(path: string, text: string, like?: string): void;
  /** Copies a file to a new executable and flushes it to disk. */
  copy(from: string, to: string): void;
  /** Returns true if two files have the same content and `b` is executable. Reads both from beginning to end. */
  isSameProgram(a: string, b: string): boolean;
  /** Puts a file into the page cache as one that is read from beginning to end, so that its first start does not wait for the disk, and no start is slow. */
  warm(path: string): void;
  /** Exchanges the files of two names; returns false if the filesystem cannot. */
  exchange(a: string, b: string): boolean;
  /** Gives a file a second name; returns false if the name exists. */
  name(path: string, name: string): boolean;
  rename(from: string, to: string): void;
  /** A missing file is not a failure. */
  remove(path: string): void;
  /** Flushes new names to disk. */
  flush(directory: string): void;
  /** Locks the directory against other installers until the lock is disposed. */
  lock(directory: string, timeoutMs: number): Disposable;
}

export const disk: Disk = {
  list: (directory) =>
    onDisk(`Cannot read the directory ${directory}`, () => {
      if (statSync(directory, { throwIfNoEntry: false }) === undefined) return undefined;
      const entries = readdirSync(directory, { withFileTypes: true });
      return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
    }),
  has: (path) =>
    onDisk(
      `Cannot read the status of ${path}`,
      () => lstatSync(path, { throwIfNoEntry: false }) !== undefined,
    ),
  resolve: (path) =>
    // realpath(3) makes several calls and takes a file that is exchanged meanwhile for a missing one.
    onDisk(`Cannot follow ${path}`, () => (lstatSync(path).isSymbolicLink() ? realpathSync(path) : path)),
  read: (path) => onDisk(`Cannot read ${path}`, () => readText(path)),
  create: (path, text, like) =>
    onDisk(`Cannot write ${path}`, () => {
      const status = like === undefined ? undefined : statSync(like);
      writeNew(path, (fd) => {
        writeFileSync(fd, Buffer.from(text, "latin1"));
        if (status !== undefined) fchownSync(fd, status.uid, status.gid);
        fchmodSync(fd, (status?.mode ?? 0o644) & 0o7777);
      });
    }),
  copy: (from, to) =>
    onDisk(`Cannot copy ${from} to ${to}`, () =>
      writeNew(to, (fd) => {
        forEachBlock(from, (block) => {
          for (let at = 0; at < block.length; ) at += writeSync(fd, block, at);
          return true;
        });
        fchmodSync(fd, 0o755);
      }),
    ),
  isSameProgram: (a, b) => onDisk(`Cannot compare ${a} with ${b}`, () => isSameProgram(a, b)),
  warm: (path) =>
    onDisk(`Cannot read ${path}`, () => {
      evict(path);
      forEachBlock(path, () => true);
    }),
  exchange: (a, b) => onDisk(`Cannot put ${a} in the place of ${b}`, () => exchange(a, b)),
  name: (path, name) => onDisk(`Cannot give ${path} the name ${name}`, () => addName(path, name)),
  rename: (from, to) => onDisk(`Cannot rename ${from} to ${to}`, () => renameSync(from, to)),
  remove: (path) => onDisk(`Cannot remove ${path}`, () => rmSync(path, { force: true })),
  flush: (directory) =>
    onDisk(`Cannot write the directory ${directory} to disk`, () => {
      const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }),
  lock: (directory, timeoutMs) =>
    onDisk(`Cannot lock the directory ${directory}`, () => {
      try {
        return lockTemporarily(`${directory}/.wg-cni.lock`, timeoutMs);
      } catch (error) {
        // If the filesystem is read-only, no other installer can write either.
        if (error instanceof SysError && error.code === "EROFS") return { [Symbol.dispose]: () => {} };
        throw error;
      }
    }),
};

function readText(path: string): string {
  // O_NONBLOCK avoids waiting for a pipe.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(fd);
    if (!status.isFile()) throw new InstallError(`${path} is no regular file`);
    if (status.size > maxTextBytes)
      throw new InstallError(
        `${path} is larger than ${formatBytes(maxTextBytes)}: no network configuration is`,
      );
    return readFileSync(fd, "latin1");
  } finally {
    closeSync(fd);
  }
}

/** Completes and flushes the file before it gets its real name; otherwise a power failure could leave an empty file. */
function writeNew(path: string, write: (fd: number) => void): void {
  rmSync(path, { force: true });
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    write(fd);
    fsyncSync(fd);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

function isSameProgram(a: string, b: string): boolean {
  const [of, at] = [statSync(a), statSync(b, { throwIfNoEntry: false })];
  if (at === undefined || !at.isFile() || of.size !== at.size || (at.mode & 0o111) !== 0o111) return false;
  const fd = openSync(b, constants.O_RDONLY);
  const other = Buffer.alloc(blockBytes);
  let isSame = true;
  try {
    forEachBlock(a, (block) => {
      isSame &&= readBlock(fd, other.subarray(0, block.length)).equals(block);
      return isSame;
    });
    return isSame;
  } finally {
    closeSync(fd);
  }
}

/** Reads a file in blocks until its end or until `take` returns false. `take` must not keep the block. */
function forEachBlock(path: string, take: (block: Buffer) => boolean): void {
  const fd = openSync(path, constants.O_RDONLY);
  const buffer = Buffer.alloc(blockBytes);
  try {
    for (;;) {
      const block = readBlock(fd, buffer);
      if (block.length === 0 || !take(block)) return;
    }
  } finally {
    closeSync(fd);
  }
}

/** Fills the buffer; returns less only at the end of the file. */
function readBlock(fd: number, buffer: Buffer): Buffer {
  let length = 0;
  while (length < buffer.length) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    if (count === 0) break;
    length += count;
  }
  return buffer.subarray(0, length);
}

/** Turns a system error into a sentence with `what`, the cause and a remedy. */
function onDisk<T>(what: string, action: () => T): T {
  return attempt(Error, action, (error) => {
    const failure = findSystemFailure(error);
    if (error instanceof InstallError || failure === undefined) throw error;
    throw new InstallError(`${what}: ${failure.reason}${remedy(failure.code)}`, { cause: error });
  });
}

function remedy(code: string): string {
  switch (code) {
    case "EACCES":
    case "EPERM":
      return ". Run it as root; in a container, mount the host's directory writable.";
    case "EROFS":
      return ". Its filesystem is mounted read-only: mount it writable, or name the directory that the runtime is configured with (--conf-dir, --bin-dir).";
    case "ENOENT":
    case "ENOTDIR":
      return ". Name the directory that the runtime is configured with (--conf-dir, --bin-dir).";
    case "EAGAIN":
      return ". Another wg-cni holds the lock: try again.";
    case "ENOSPC":
    case "EDQUOT":
      return ". Free some space on its filesystem.";
    default:
      return ". Check the directory, its filesystem and the kernel's log.";
  }
}
