// Waits for descriptors (ppoll(2)), for a process that has nothing else to do meanwhile: the thread is
// blocked, and timers do not fire.
import { rawSyscall, SysError } from "./syscall.ts";

const POLLIN = 1;
const pollFdBytes = 8;

/**
 * Returns the descriptors that have something to read, or have ended. It waits until there is one, but
 * not longer than `timeoutMs`. Throws SysError.
 */
export function pollReadable(fds: readonly number[], timeoutMs?: number): number[] {
  const entries = new DataView(new ArrayBuffer(Math.max(1, fds.length) * pollFdBytes));
  fds.forEach((fd, i) => {
    entries.setInt32(i * pollFdBytes, fd, true);
    entries.setInt16(i * pollFdBytes + 4, POLLIN, true);
  });
  const result = rawSyscall(
    "ppoll",
    new Uint8Array(entries.buffer),
    fds.length,
    timeoutMs === undefined ? 0 : timespec(timeoutMs),
  );
  if (result < 0) throw new SysError("ppoll", -result, "requests");
  return fds.filter((_, i) => entries.getInt16(i * pollFdBytes + 6, true) !== 0);
}

function timespec(milliseconds: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16));
  const seconds = Math.floor(milliseconds / 1000);
  view.setBigInt64(0, BigInt(seconds), true);
  view.setBigInt64(8, BigInt(Math.round((milliseconds - seconds * 1000) * 1e6)), true);
  return new Uint8Array(view.buffer);
}
