// Reads and writes files by synchronous system calls: so the thread's network namespace decides which
// files it sees (sysctls), and the millisecond of importing node:fs is saved. Paths are absolute.
import { Errno } from "./errno.ts";
import { cString, rawSyscall, SysError, syscall } from "./syscall.ts";

const AT_FDCWD = -100;
const O_WRONLY = 0o1;
const O_CREAT = 0o100;
const O_APPEND = 0o2000;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = 0o400000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
const STATX_BASIC_STATS = 0x7ff;
const RENAME_EXCHANGE = 2;

/** Rights that access(2) asks for. */
export const X_OK = 1;
export const W_OK = 2;

const chunkBytes = 16_384;
/** No file that we read is larger; a larger one is not the expected file. */
const maxFileBytes = 64 * 1024 * 1024;

const decoder = new TextDecoder();

export interface FileStatus {
  /** Device and inode number: they are equal for two paths only if both are the same object. */
  readonly identity: string;
  readonly kind: "file" | "directory" | "other";
  /** Permission bits: 0o600. */
  readonly mode: number;
  readonly uid: number;
  readonly sizeBytes: number;
}

/** The free space of a filesystem. */
export interface Space {
  /** Bytes that processes without special rights can use. */
  readonly freeBytes: number;
  /** Files that can still be made. */
  readonly freeFiles: number;
}

/** A file descriptor, to be closed by `closeFd`. */
export function openFile(path: string, flags = 0, mode = 0): number {
  return syscall("openat", path, AT_FDCWD, cString(path), flags | O_CLOEXEC, mode);
}

export function closeFd(fd: number): void {
  rawSyscall("close", fd);
}

/** Reads the whole content of a file. Of a pipe it reads what is in it, without waiting. Throws SysError. */
export function readFile(path: string): Uint8Array {
  const fd = openFile(path, O_NONBLOCK);
  try {
    const bytes = readFd(fd, maxFileBytes, path);
    if (bytes === undefined) throw new SysError("read", Errno.EFBIG, path);
    return bytes;
  } finally {
    closeFd(fd);
  }
}

/** Returns the whole content of a file as text. Throws SysError. */
export function readText(path: string): string {
  return new TextDecoder().decode(readFile(path));
}

/** Returns the content of a file as text, or undefined if there is no such file. Throws SysError. */
export function findText(path: string): string | undefined {
  try {
    return readText(path);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Reads a descriptor to its end; undefined if there is more than `maxBytes`. Throws SysError. */
export function readFd(fd: number, maxBytes: number, subject = `descriptor ${fd}`): Uint8Array | undefined {
  let buffer = new Uint8Array(chunkBytes);
  let length = 0;
  for (;;) {
    if (length === buffer.length) buffer = grown(buffer);
    const count = syscall("read", subject, fd, buffer.subarray(length), buffer.length - length);
    if (count === 0) return buffer.subarray(0, length);
    length += count;
    if (length > maxBytes) return undefined;
  }
}

/** Writes all the bytes. Throws SysError. */
export function writeFd(fd: number, bytes: Uint8Array, subject = `descriptor ${fd}`): void {
  for (let done = 0; done < bytes.length; )
    done += syscall("write", subject, fd, bytes.subarray(done), bytes.length - done);
}

/** Writes to a file that exists, in one write(2) as sysctls need it. Throws SysError. */
export function writeFile(path: string, content: string | Uint8Array): void {
  writeOpened(path, openFile(path, O_WRONLY | O_TRUNC), content);
}

/** Adds to the end of a file in one write(2), creating it with `mode`; follows no link, waits for no pipe. Throws SysError. */
export function appendFile(path: string, content: string, mode = 0o600): void {
  const flags = O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK;
  writeOpened(path, openFile(path, flags, mode), content);
}

/**
 * Gives a file new content, whole and durably. One process at a time: the draft has one name, so that there is at
 * most one of a process that was killed. Throws SysError.
 */
export function replaceFile(path: string, content: string | Uint8Array, mode = 0o600): void {
  const draft = `${path}.new`;
  unlink(draft);
  writeDraft(draft, content, mode);
  rename(draft, path);
  syncDirectory(path.slice(0, path.lastIndexOf("/")) || "/");
}

/** Writes a file that must not exist, and flushes it. */
function writeDraft(path: string, content: string | Uint8Array, mode: number): void {
  const fd = openFile(path, O_WRONLY | O_CREAT | O_EXCL, mode);
  try {
    writeFd(fd, toBytes(content), path);
    syscall("fsync", path, fd);
  } finally {
    closeFd(fd);
  }
}

/**
 * Creates a file that must not exist (EEXIST), whole and durably: it gets its name, which is on
 * disk when this returns, with its content. Throws SysError.
 */
export function createFile(path: string, content: string | Uint8Array, mode = 0o600): void {
  const draft = `${path}.new-${process.pid}`;
  // The file was left by a process with this number that was killed.
  unlink(draft);
  try {
    writeDraft(draft, content, mode);
    if (!addName(draft, path)) throw new SysError("linkat", Errno.EEXIST, path);
  } finally {
    unlink(draft);
  }
  syncDirectory(path.slice(0, path.lastIndexOf("/")) || "/");
}

/** Creates a directory and the ones above it; `mode` is the last one's. True if it was made here. Throws SysError. */
export function mkdir(path: string, mode = 0o700): boolean {
  const result = rawSyscall("mkdirat", AT_FDCWD, cString(path), mode);
  if (result >= 0) return true;
  if (-result === Errno.EEXIST && findStatus(path)?.kind === "directory") return false;
  const above = path.slice(0, path.lastIndexOf("/"));
  if (-result !== Errno.ENOENT || above === "") throw new SysError("mkdirat", -result, path);
  mkdir(above, 0o755);
  return mkdir(path, mode);
}

/** Sets the permission bits. Throws SysError. */
export function chmod(path: string, mode: number): void {
  syscall("fchmodat", path, AT_FDCWD, cString(path), mode);
}

/** Removes a file; false if there is none. Throws SysError. */
export function unlink(path: string): boolean {
  const result = rawSyscall("unlinkat", AT_FDCWD, cString(path), 0);
  if (-result === Errno.ENOENT) return false;
  if (result < 0) throw new SysError("unlinkat", -result, path);
  return true;
}

/** Renames a file, and replaces a file of the new name, in one step. Throws SysError. */
export function rename(from: string, to: string): void {
  syscall("renameat", `${from} to ${to}`, AT_FDCWD, cString(from), AT_FDCWD, cString(to));
}

/** Gives a file one more name, or moves it there if the filesystem has no links; false if the name exists. Throws SysError. */
export function addName(path: string, name: string): boolean {
  const result = rawSyscall("linkat", AT_FDCWD, cString(path), AT_FDCWD, cString(name), 0);
  if (-result === Errno.EEXIST) return false;
  if (result >= 0) return true;
  if (-result !== Errno.EPERM && -result !== Errno.EOPNOTSUPP) throw new SysError("linkat", -result, name);
  // The check and the renaming are not one step here.
  if (exists(name)) return false;
  rename(path, name);
  return true;
}

/** Exchanges the files of two names in one step; returns false if the filesystem cannot. Throws SysError. */
export function exchange(a: string, b: string): boolean {
  const result = rawSyscall("renameat2", AT_FDCWD, cString(a), AT_FDCWD, cString(b), RENAME_EXCHANGE);
  if (-result === Errno.EINVAL || -result === Errno.ENOSYS) return false;
  if (result < 0) throw new SysError("renameat2", -result, `${a} and ${b}`);
  return true;
}

/** Returns the status of what a path leads to, or undefined if it leads nowhere. Throws SysError. */
export function findStatus(path: string): FileStatus | undefined {
  return findStatusBy(path, 0);
}

/** Returns the status of a link itself. */
export function findLinkStatus(path: string): FileStatus | undefined {
  return findStatusBy(path, AT_SYMLINK_NOFOLLOW);
}

/** Returns the status of an open file. Throws SysError. */
export function readStatus(fd: number, subject: string): FileStatus {
  const statx = new Uint8Array(256);
  syscall("statx", subject, fd, cString(""), AT_EMPTY_PATH, STATX_BASIC_STATS, statx);
  return decodeStatx(statx);
}

function findStatusBy(path: string, flags: number): FileStatus | undefined {
  const statx = new Uint8Array(256);
  const result = rawSyscall("statx", AT_FDCWD, cString(path), flags, STATX_BASIC_STATS, statx);
  if (-result === Errno.ENOENT) return undefined;
  if (result < 0) throw new SysError("statx", -result, path);
  return decodeStatx(statx);
}

/** Reads the space of the filesystem that `path` is on; Infinity if it has no limit (some are not made of blocks). Throws SysError. */
export function readSpace(path: string): Space {
  const word = readStatfs(path);
  const [blockBytes, blocks, freeBlocks, files, freeFiles] = [word(1), word(2), word(4), word(5), word(6)];
  return {
    freeBytes: blocks === 0 ? Number.POSITIVE_INFINITY : freeBlocks * blockBytes,
    freeFiles: files === 0 ? Number.POSITIVE_INFINITY : freeFiles,
  };
}

/** The number of the kind of filesystem that `path` is on (linux/magic.h). Throws SysError. */
export function readFilesystemKind(path: string): number {
  return readStatfs(path)(0);
}

/** Its words by index: struct statfs (asm-generic/statfs.h) has 64 bits each on both architectures. */
function readStatfs(path: string): (index: number) => number {
  const statfs = new Uint8Array(120);
  syscall("statfs", path, cString(path), statfs);
  const view = new DataView(statfs.buffer);
  return (index) => Number(view.getBigUint64(8 * index, true));
}

/** Returns the names of all entries of a directory. Throws SysError. */
export function listDirectory(path: string): string[] {
  const fd = openFile(path);
  const names: string[] = [];
  const entries = new Uint8Array(chunkBytes);
  const view = new DataView(entries.buffer);
  try {
    for (;;) {
      const length = syscall("getdents64", path, fd, entries, entries.length);
      if (length === 0) return names.filter((name) => name !== "." && name !== "..");
      // struct linux_dirent64 (getdents64(2)): inode, offset, length of the entry, type, name with its NUL.
      for (let at = 0; at < length; at += view.getUint16(at + 16, true))
        names.push(decoder.decode(entries.subarray(at + 19, entries.indexOf(0, at + 19))));
    }
  } finally {
    closeFd(fd);
  }
}

export function exists(path: string): boolean {
  return findStatus(path) !== undefined;
}

/** True for a file that this process may execute. */
export function isExecutable(path: string): boolean {
  return findAccessError(path, X_OK) === undefined && findStatus(path)?.kind === "file";
}

/** Returns the error if this process may not execute (X_OK) or write (W_OK) the file at `path`; undefined if it may. */
export function findAccessError(path: string, right: typeof X_OK | typeof W_OK): SysError | undefined {
  const result = rawSyscall("faccessat", AT_FDCWD, cString(path), right);
  return result < 0 ? new SysError("faccessat", -result, path) : undefined;
}

/** True for the error of a path that leads nowhere. */
export function isAbsent(error: unknown): boolean {
  return error instanceof SysError && error.errno === Errno.ENOENT;
}

/** struct statx (linux/stat.h): the same on every architecture, unlike struct stat. */
function decodeStatx(bytes: Uint8Array): FileStatus {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const mode = view.getUint16(28, true);
  const format = mode & 0o170000;
  const inode = view.getBigUint64(32, true);
  return {
    identity: `${view.getUint32(136, true)}:${view.getUint32(140, true)}:${inode}`,
    kind: format === 0o100000 ? "file" : format === 0o040000 ? "directory" : "other",
    mode: mode & 0o7777,
    uid: view.getUint32(20, true),
    sizeBytes: Number(view.getBigUint64(40, true)),
  };
}

function writeOpened(path: string, fd: number, content: string | Uint8Array): void {
  try {
    writeFd(fd, toBytes(content), path);
  } finally {
    closeFd(fd);
  }
}

/** A new name is durable only once its directory is on disk too. Throws SysError. */
export function syncDirectory(path: string): void {
  const fd = openFile(path);
  try {
    syscall("fsync", path, fd);
  } finally {
    closeFd(fd);
  }
}

function grown(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(buffer.length * 4);
  larger.set(buffer);
  return larger;
}

function toBytes(content: string | Uint8Array): Uint8Array {
  return typeof content === "string" ? new TextEncoder().encode(content) : content;
}
