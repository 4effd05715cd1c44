// A lock among processes: flock(2) on a file that only its owner may open (private.ts).
// The kernel lets go of it when the holder ends, however it ends.
import { Errno } from "./errno.ts";
import { closeFd, findLinkStatus, isAbsent, openFile, readStatus, unlink } from "./file.ts";
import { openPrivate } from "./private.ts";
import { rawSyscall, SysError } from "./syscall.ts";

const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = 0o400000;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
/** Short at first, so that a lock held for a moment costs little more; then so that many waiters cost little. */
const firstPauseMs = 1;
const longestPauseMs = 8;

/**
 * Runs `inside` while no other process holds the lock at `path`, waiting for it
 * at most `timeoutMs`. Throws SysError, EAGAIN when the time is over; ExposureError.
 */
export function withFileLock<T>(path: string, timeoutMs: number, inside: () => T): T {
  const fd = lockFile(path, timeoutMs);
  try {
    return inside();
  } finally {
    closeFd(fd);
  }
}

/** Locks a file that stays; the descriptor that is returned holds the lock until it is closed. Throws as above. */
export function lockFile(path: string, timeoutMs: number): number {
  return lock(path, openPrivate(path), timeoutMs);
}

/** Locks a file that is there only as long as it is locked, in a directory that is not ours. Throws as above. */
export function lockTemporarily(path: string, timeoutMs: number): Disposable {
  const deadline = Bun.nanoseconds() + timeoutMs * 1e6;
  for (;;) {
    const fd = lockFile(path, (deadline - Bun.nanoseconds()) / 1e6);
    // The earlier holder has removed its name: other processes lock the next file of this name.
    if (findLinkStatus(path)?.identity === readStatus(fd, path).identity)
      return {
        [Symbol.dispose]: () => {
          unlink(path);
          closeFd(fd);
        },
      };
    closeFd(fd);
  }
}

/** Locks `path` until it is disposed of; undefined if another process has it. Throws SysError, ExposureError. */
export function tryLock(path: string): Disposable | undefined {
  const fd = openPrivate(path);
  const errno = -rawSyscall("flock", fd, LOCK_EX | LOCK_NB);
  if (errno <= 0) return { [Symbol.dispose]: () => closeFd(fd) };
  closeFd(fd);
  if (errno === Errno.EAGAIN) return undefined;
  throw new SysError("flock", errno, path);
}

/** True while a process holds the lock at `path`. Concurrent calls do not disturb each other; a `tryLock` in that instant fails. */
export function isLocked(path: string): boolean {
  let fd: number;
  try {
    fd = openFile(path, O_NONBLOCK | O_NOFOLLOW);
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
  try {
    const errno = -rawSyscall("flock", fd, LOCK_SH | LOCK_NB);
    if (errno > 0 && errno !== Errno.EAGAIN) throw new SysError("flock", errno, path);
    return errno > 0;
  } finally {
    closeFd(fd);
  }
}

/** Returns the descriptor, locked; closes it if that fails. */
function lock(path: string, fd: number, timeoutMs: number): number {
  const deadline = Bun.nanoseconds() + timeoutMs * 1e6;
  for (let pauseMs = firstPauseMs; ; pauseMs = pauseMs < longestPauseMs ? 2 * pauseMs : longestPauseMs) {
    const errno = -rawSyscall("flock", fd, LOCK_EX | LOCK_NB);
    if (errno <= 0) return fd;
    if (errno !== Errno.EAGAIN || Bun.nanoseconds() > deadline) {
      closeFd(fd);
      throw new SysError("flock", errno, path);
    }
    Bun.sleepSync(pauseMs);
  }
}
