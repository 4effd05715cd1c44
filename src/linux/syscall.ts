// Calls the kernel by libc's syscall(2), and reads errno. Only this file imports bun:ffi, with one
// symbol for all calls, because each symbol costs start-up time. file.ts, netns.ts and socket.ts give
// the calls their meaning.
import { dlopen, FFIType, ptr, read } from "bun:ffi";
import { Errno, errnoCode, errnoText } from "./errno.ts";

/** [x86-64, arm64] (asm/unistd_64.h, asm-generic/unistd.h); `verb` is the verb of error messages. */
const calls = {
  accept4: { numbers: [288, 242], verb: "accept a connection of" },
  bind: { numbers: [49, 200], verb: "bind" },
  clock_gettime: { numbers: [228, 113], verb: "read" },
  close: { numbers: [3, 57], verb: "close" },
  connect: { numbers: [42, 203], verb: "connect to" },
  exit_group: { numbers: [231, 94], verb: "exit" },
  faccessat: { numbers: [269, 48], verb: "access" },
  fadvise64: { numbers: [221, 223], verb: "take out of memory" },
  fchmodat: { numbers: [268, 53], verb: "change the mode of" },
  flock: { numbers: [73, 32], verb: "lock" },
  fsync: { numbers: [74, 82], verb: "flush" },
  getdents64: { numbers: [217, 61], verb: "list" },
  getsockopt: { numbers: [55, 209], verb: "read an option of" },
  ioctl: { numbers: [16, 29], verb: "control" },
  linkat: { numbers: [265, 37], verb: "create" },
  listen: { numbers: [50, 201], verb: "listen at" },
  mincore: { numbers: [27, 232], verb: "find in memory" },
  mkdirat: { numbers: [258, 34], verb: "create directory" },
  mmap: { numbers: [9, 222], verb: "map" },
  munmap: { numbers: [11, 215], verb: "unmap" },
  openat: { numbers: [257, 56], verb: "open" },
  ppoll: { numbers: [271, 73], verb: "wait for" },
  prctl: { numbers: [157, 167], verb: "change" },
  read: { numbers: [0, 63], verb: "read" },
  recvfrom: { numbers: [45, 207], verb: "receive from" },
  recvmsg: { numbers: [47, 212], verb: "receive from" },
  renameat: { numbers: [264, 38], verb: "rename" },
  renameat2: { numbers: [316, 276], verb: "exchange" },
  sendmsg: { numbers: [46, 211], verb: "send to" },
  sendto: { numbers: [44, 206], verb: "send to" },
  setpriority: { numbers: [141, 140], verb: "change the priority of" },
  setns: { numbers: [308, 268], verb: "enter network namespace" },
  setsockopt: { numbers: [54, 208], verb: "set an option of" },
  socket: { numbers: [41, 198], verb: "create" },
  statfs: { numbers: [137, 43], verb: "read the filesystem of" },
  statx: { numbers: [332, 291], verb: "read the status of" },
  unlinkat: { numbers: [263, 35], verb: "remove" },
  unshare: { numbers: [272, 97], verb: "make" },
  write: { numbers: [1, 64], verb: "write" },
} as const satisfies Record<string, { numbers: readonly [number, number]; verb: string }>;

export type SyscallName = keyof typeof calls;

/** Bytes are passed by address and must not be shorter than the call expects. */
export type SyscallArgument = number | Uint8Array;

const libc = dlopen("libc.so.6", {
  syscall: { args: ["i64", "i64", "i64", "i64", "i64", "i64", "i64"], returns: FFIType.i64_fast },
  __errno_location: { args: [], returns: "ptr" },
}).symbols;

const column = process.arch === "arm64" ? 1 : 0;

/** A refused system call. `subject` is the path or thing it was about. */
export class SysError extends Error {
  override readonly name = "SysError";
  readonly code: string;

  constructor(
    readonly syscall: SyscallName,
    readonly errno: number,
    readonly subject: string,
  ) {
    super(`Cannot ${calls[syscall].verb} ${subject}: ${errnoCode(errno)} (${errnoText(errno)})`);
    this.code = errnoCode(errno);
  }
}

/** Makes a call and returns the kernel's result; the caller judges negative error numbers. */
export function rawSyscall(
  name: SyscallName,
  a: SyscallArgument = 0,
  b: SyscallArgument = 0,
  c: SyscallArgument = 0,
  d: SyscallArgument = 0,
  e: SyscallArgument = 0,
  f: SyscallArgument = 0,
): number {
  const number = calls[name].numbers[column];
  for (;;) {
    const result = Number(libc.syscall(number, word(a), word(b), word(c), word(d), word(e), word(f)));
    if (result !== -1) return result;
    const errno = lastErrno();
    // A signal came first: do it again. But close(2) has let go of the descriptor even so.
    if (errno !== Errno.EINTR || name === "close") return -errno;
  }
}

/** Makes a call; throws SysError naming `subject` if the kernel refuses. */
export function syscall(name: SyscallName, subject: string, ...args: SyscallArgument[]): number {
  const result = rawSyscall(name, ...(args as [SyscallArgument?]));
  if (result < 0) throw new SysError(name, -result, subject);
  return result;
}

/** The address of bytes, for a structure that points to them. It holds as long as the caller keeps the bytes. */
export function addressOf(bytes: Uint8Array): bigint {
  return BigInt(word(bytes));
}

/** Text as system calls take it: UTF-8, ended by NUL. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/** PR_SET_DUMPABLE (linux/prctl.h). */
const setDumpable = 4;

/**
 * Keeps this process' memory, which has private keys, out of core dumps, and away from
 * users who may not trace any process. Programs that it starts do not inherit this.
 */
export function forbidCoreDumps(): void {
  rawSyscall("prctl", setDumpable, 0);
}

/** Ends the process at once, without the runtime's own tidying up. */
export function exitProcess(code: number): never {
  rawSyscall("exit_group", code);
  throw new Error("exit_group(2) returned");
}

function word(argument: SyscallArgument): number {
  if (typeof argument === "number") return argument;
  // An empty array has no address; the call gets its length of 0.
  return argument.length === 0 ? 0 : (ptr(argument) as number);
}

function lastErrno(): number {
  const address = libc.__errno_location();
  return address === null ? Errno.EIO : read.i32(address);
}
