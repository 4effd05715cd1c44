// A lock among processes: flock(2) on a file that stays. The kernel lets go of
// it when the holder ends, however it ends.
import { Errno } from "./errno.ts";
import { closeFd, openFile } from "./file.ts";
import { rawSyscall, SysError } from "./syscall.ts";

const O_RDWR = 0o2;
const O_CREAT = 0o100;
const LOCK_EX = 2;
const LOCK_NB = 4;
const retryMs = 5;

/**
 * Runs `inside` while no other process holds the lock at `path`, waiting for it
 * at most `timeoutMs`. Throws SysError, EAGAIN when the time is over.
 */
export function withFileLock<T>(path: string, timeoutMs: number, inside: () => T): T {
  const fd = openFile(path, O_RDWR | O_CREAT, 0o600);
  try {
    const deadline = Bun.nanoseconds() + timeoutMs * 1e6;
    for (;;) {
      const result = rawSyscall("flock", fd, LOCK_EX | LOCK_NB);
      if (result >= 0) break;
      if (-result !== Errno.EAGAIN || Bun.nanoseconds() > deadline)
        throw new SysError("flock", -result, path);
      Bun.sleepSync(retryMs);
    }
    return inside();
  } finally {
    closeFd(fd);
  }
}
