// Tests if a descriptor is a terminal.
import { rawSyscall } from "./syscall.ts";

/** ioctl(2), asm-generic/ioctls.h: get terminal attributes, which only terminals have. */
const TCGETS = 0x5401;

export function isatty(fd: number): boolean {
  return rawSyscall("ioctl", fd, TCGETS, new Uint8Array(64)) === 0;
}
