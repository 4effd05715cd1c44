// The few things that installing does to files, each of them whole or not at
// all for whoever looks at the same moment. Texts have one character a byte.
// What is refused becomes an InstallError, a sentence with a remedy.
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
import { errnoText } from "../linux/errno.ts";
import { addName, exchange } from "../linux/file.ts";
import { lockForNow } from "../linux/lock.ts";
import { SysError } from "../linux/syscall.ts";
import { formatBytes } from "../net/human-format.ts";

/** wg-cni cannot be installed or taken away: a whole sentence with what to do. */
export class InstallError extends Error {
  override readonly name = "InstallError";

  /** True where a file was not there that had been a moment before. */
  get isAbsence(): boolean {
    return (this.cause as { readonly code?: string } | undefined)?.code === "ENOENT";
  }
}

/** Runtimes take none that is larger than 2 MiB; real ones have some KiB. */
const maxTextBytes = 1024 * 1024;
const blockBytes = 1024 * 1024;

/** What is being written has this at its end: no runtime takes it for a network or a plugin. */
export const unfinished = ".wg-cni-unfinished";

/** A name for what is being written before it becomes `path`: in the same folder, hidden. */
export function unfinishedName(path: string): string {
  const slash = path.lastIndexOf("/");
  return `${path.slice(0, slash)}/.${path.slice(slash + 1)}${unfinished}`;
}

/** Every method throws InstallError. */
export interface Disk {
  /** Names of all but folders; undefined where there is no such folder. */
  list(directory: string): readonly string[] | undefined;
  /** True also for a link that leads nowhere from here. */
  has(path: string): boolean;
  /** The path that links lead to. */
  resolve(path: string): string;
  /** A regular file's text. */
  read(path: string): string;
  /** A new file that is on disk when this returns; mode and owner are those of `like`, else 0644 and ours. */
  create(path: string, text: string, like?: string): void;
  /** A new executable file with another's content, on disk when this returns. */
  copy(from: string, to: string): void;
  /** Whether two files have the same content and `b` may be executed. Reads both from beginning to end. */
  isSameProgram(a: string, b: string): boolean;
  /** Reads a file from beginning to end, so that the next one to start it need not wait for the disk. */
  warm(path: string): void;
  /** Two names trade what they stand for; false where the filesystem cannot. */
  exchange(a: string, b: string): boolean;
  /** Gives a file one more name; false where something has that name. */
  name(path: string, name: string): boolean;
  rename(from: string, to: string): void;
  /** What is not there is no failure. */
  remove(path: string): void;
  /** New names are on disk when this returns. */
  flush(directory: string): void;
  /** Keeps other installers of the folder away until it is disposed of. */
  lock(directory: string, timeoutMs: number): Disposable;
}

export const disk: Disk = {
  list: (directory) =>
    attempt(`Cannot look into the folder ${directory}`, () => {
      if (statSync(directory, { throwIfNoEntry: false }) === undefined) return undefined;
      const entries = readdirSync(directory, { withFileTypes: true });
      return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
    }),
  has: (path) =>
    attempt(`Cannot look at ${path}`, () => lstatSync(path, { throwIfNoEntry: false }) !== undefined),
  resolve: (path) =>
    // realpath(3) takes several looks, and a file that is exchanged meanwhile for one that is gone.
    attempt(`Cannot follow ${path}`, () => (lstatSync(path).isSymbolicLink() ? realpathSync(path) : path)),
  read: (path) => attempt(`Cannot read ${path}`, () => readText(path)),
  create: (path, text, like) =>
    attempt(`Cannot write ${path}`, () => {
      const status = like === undefined ? undefined : statSync(like);
      writeNew(path, (fd) => {
        writeFileSync(fd, Buffer.from(text, "latin1"));
        if (status !== undefined) fchownSync(fd, status.uid, status.gid);
        fchmodSync(fd, (status?.mode ?? 0o644) & 0o7777);
      });
    }),
  copy: (from, to) =>
    attempt(`Cannot copy ${from} to ${to}`, () =>
      writeNew(to, (fd) => {
        forEachBlock(from, (block) => {
          for (let at = 0; at < block.length; ) at += writeSync(fd, block, at);
          return true;
        });
        fchmodSync(fd, 0o755);
      }),
    ),
  isSameProgram: (a, b) => attempt(`Cannot compare ${a} with ${b}`, () => isSameProgram(a, b)),
  warm: (path) => attempt(`Cannot read ${path}`, () => forEachBlock(path, () => true)),
  exchange: (a, b) => attempt(`Cannot put ${a} in the place of ${b}`, () => exchange(a, b)),
  name: (path, name) => attempt(`Cannot give ${path} the name ${name}`, () => addName(path, name)),
  rename: (from, to) => attempt(`Cannot rename ${from} to ${to}`, () => renameSync(from, to)),
  remove: (path) => attempt(`Cannot remove ${path}`, () => rmSync(path, { force: true })),
  flush: (directory) =>
    attempt(`Cannot write the folder ${directory} to disk`, () => {
      const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    }),
  lock: (directory, timeoutMs) =>
    attempt(`Cannot lock the folder ${directory}`, () => {
      try {
        return lockForNow(`${directory}/.wg-cni.lock`, timeoutMs);
      } catch (error) {
        // Where nothing can be written, there is nobody to be kept away.
        if (error instanceof SysError && error.code === "EROFS") return { [Symbol.dispose]: () => {} };
        throw error;
      }
    }),
};

function readText(path: string): string {
  // A pipe is not waited for.
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

/** Whole and on disk before it gets its real name, or a power failure could leave an empty one. */
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

/** A file in blocks, to its end or until `take` wants no more. It must not keep the block. */
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

/** As much as fits; less only at the end of the file. */
function readBlock(fd: number, buffer: Buffer): Buffer {
  let length = 0;
  while (length < buffer.length) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    if (count === 0) break;
    length += count;
  }
  return buffer.subarray(0, length);
}

/** Gives what the system refused a sentence: `what`, why, and what to do about it. */
function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const { code, errno } = error as { readonly code?: string; readonly errno?: number };
    const isRefusal = error instanceof SysError || (code !== undefined && errno !== undefined);
    if (error instanceof InstallError || !isRefusal) throw error;
    const number = Math.abs(errno as number);
    throw new InstallError(`${what}: ${code} (${errnoText(number)})${remedy(code as string)}`, {
      cause: error,
    });
  }
}

function remedy(code: string): string {
  switch (code) {
    case "EACCES":
    case "EPERM":
      return ". Run it as root; in a container, mount the host's folder writable.";
    case "EROFS":
      return ". Its filesystem is mounted read-only: mount it writable, or name the folder that the runtime is configured with (--conf-dir, --bin-dir).";
    case "ENOENT":
    case "ENOTDIR":
      return ". Name the folder that the runtime is configured with (--conf-dir, --bin-dir).";
    case "EAGAIN":
      return ". Another wg-cni is at it: try again.";
    case "ENOSPC":
    case "EDQUOT":
      return ". Free some space on its filesystem.";
    default:
      return ". Look at the folder, its filesystem and the kernel's log.";
  }
}
