// The kernel's clock that only goes forward (clock_gettime(2)). All processes of a host share it, while the
// runtime's own counts from the start of each process.
import { rawSyscall } from "./syscall.ts";

const CLOCK_MONOTONIC = 1;

/** Milliseconds since some time before the host's start. */
export function hostMonotonicMs(): number {
  // struct timespec.
  const time = new BigInt64Array(2);
  rawSyscall("clock_gettime", CLOCK_MONOTONIC, new Uint8Array(time.buffer));
  const [seconds = 0n, nanoseconds = 0n] = time;
  return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
}
