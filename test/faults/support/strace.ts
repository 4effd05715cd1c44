// Faults at system call boundaries: strace(1) counts the calls of the real process, and in a later run kills it as it
// enters one of them, or has that one fail. Only the main thread is traced: it is the one that does the product's work.
import type { Node } from "../../lab/node.ts";

/** System calls that reach beyond the process -> the errors that they may end with. All of them are also killed at. */
const faulty: Readonly<Record<string, readonly string[]>> = {
  openat: ["EMFILE", "EACCES"],
  read: ["EIO"],
  write: ["ENOSPC"],
  pread64: ["EIO"],
  pwrite64: ["ENOSPC", "EIO"],
  fsync: ["EIO"],
  fdatasync: ["EIO"],
  ftruncate: ["EIO", "ENOSPC"],
  fchown: ["EPERM"],
  fchmod: ["EPERM"],
  fcntl: ["ENOLCK"],
  flock: ["ENOLCK"],
  unlink: ["EACCES"],
  unlinkat: ["EACCES"],
  rename: ["ENOSPC", "EXDEV"],
  renameat: ["ENOSPC"],
  renameat2: ["ENOSPC"],
  linkat: ["ENOSPC"],
  mkdir: ["ENOSPC"],
  mkdirat: ["ENOSPC"],
  copy_file_range: ["ENOSPC"],
  sendfile: ["ENOSPC"],
  socket: ["EMFILE", "ENOBUFS"],
  connect: ["ECONNREFUSED"],
  setsockopt: ["ENOBUFS"],
  sendto: ["ENOBUFS", "EPERM"],
  recvfrom: ["ENOBUFS", "ENOMEM"],
  setns: ["EPERM"],
  clone3: ["EAGAIN"],
  close: [],
};

/** One fault: what happens at which call of its kind. */
export interface Fault {
  readonly syscall: string;
  /** From 1, as strace counts. */
  readonly nth: number;
  /** "KILL", or the error. */
  readonly effect: string;
}

export const traceFile = "/run/wg-cni-trace";
/** What the product does first: all before it is the start of the runtime, where a kill is a command never given. */
const firstWork = /"\/var\/lib\/wg-cni|"\/etc\/cni|AF_NETLINK|^read\(0,/;

/** strace ignores one with a question mark that this architecture does not have. */
const names = Object.keys(faulty)
  .map((name) => `?${name}`)
  .join(",");

/** The arguments that run a command and write down its calls. */
export const counting: readonly string[] = ["strace", "-o", traceFile, "-e", `trace=${names}`];

/** The arguments that run a command with the fault. */
export function injecting({ syscall, nth, effect }: Fault): string[] {
  const what = effect === "KILL" ? "signal=KILL" : `error=${effect}`;
  const inject = `inject=${syscall}:${what}:when=${nth}`;
  return ["strace", "-o", traceFile, "-e", `trace=${syscall}`, "-e", inject];
}

/** All faults that a command can meet whose calls were written down. */
export function readFaults(node: Node): Fault[] {
  const counts = new Map<string, number>();
  const faults: Fault[] = [];
  let isWorking = false;
  for (const line of node.must(["cat", traceFile]).split("\n")) {
    const syscall = /^\w+(?=\()/.exec(line)?.[0];
    if (syscall === undefined) continue;
    const nth = (counts.get(syscall) ?? 0) + 1;
    counts.set(syscall, nth);
    isWorking ||= firstWork.test(line);
    if (!isWorking) continue;
    for (const effect of ["KILL", ...(faulty[syscall] ?? [])]) faults.push({ syscall, nth, effect });
  }
  return faults;
}
