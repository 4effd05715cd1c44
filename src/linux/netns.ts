// Runs functions in a network namespace, and distinguishes namespaces. setns(2) moves only the thread
// that calls it, so the function must be synchronous: asynchronous work would go on in the wrong
// namespace.
import { escapeControls } from "../net/printable.ts";
import { Errno } from "./errno.ts";
import { closeFd, findStatus, isAbsent, openFile, readFilesystemKind, writeFd } from "./file.ts";
import { AF_UNIX, SOCK_DGRAM, Socket } from "./socket.ts";
import { exitProcess, rawSyscall, SysError, syscall } from "./syscall.ts";

const CLONE_NEWNET = 0x40000000;
const O_PATH = 0o10000000;

/** NSFS_MAGIC (linux/magic.h). */
const nsfs = 0x6e736673;
/** PROC_PID_INIT_INO (linux/proc_ns.h). */
const initialPidNamespace = "4026531836";

/** The namespace this thread is in, which need not be the process's. */
export const ownNetns = "/proc/thread-self/ns/net";

/** Runs `inside` in the namespace at `path`, then returns to the present one. Throws SysError. */
export function withNetns<T>(path: string, inside: () => T extends PromiseLike<unknown> ? never : T): T {
  const before = openFile(ownNetns);
  try {
    enter(path);
    try {
      return inside();
    } finally {
      comeBack(before);
    }
  } finally {
    closeFd(before);
  }
}

/**
 * A descriptor of a namespace, for links that are made in it; to be closed by `closeFd`. Nothing else
 * is opened: opening a pipe waits for its other end, and opening a device may do what it is made for.
 * Throws SysError.
 */
export function openNetns(path: string): number {
  const found = openFile(path, O_PATH);
  try {
    const same = `/proc/thread-self/fd/${found}`;
    if (readFilesystemKind(same) !== nsfs) throw new SysError("setns", Errno.EINVAL, path);
    return openFile(same);
  } finally {
    closeFd(found);
  }
}

/** Returns a text that is equal for two paths only if both are the same namespace; undefined if there is none. Throws SysError. */
export function findNetnsIdentity(path: string): string | undefined {
  return findStatus(path)?.identity;
}

/** True if the path leads to the network namespace of this thread; false also if it leads nowhere. */
export function isOwnNetns(path: string): boolean {
  try {
    return findNetnsIdentity(path) === findNetnsIdentity(ownNetns);
  } catch {
    return false;
  }
}

/** Returns the kind of the object at the path of a namespace. A plain file is left if its mount is gone. Throws SysError. */
export function inspectNetns(path: string): "namespace" | "file" | "absent" {
  try {
    return readFilesystemKind(path) === nsfs ? "namespace" : "file";
  } catch (error) {
    if (isAbsent(error)) return "absent";
    throw error;
  }
}

/** True if an error of `withNetns` or `openNetns` says that there is no namespace at the path, or none any more. */
export function isNetnsAbsent(error: unknown): boolean {
  return isAbsent(error) || (error instanceof SysError && error.errno === Errno.EINVAL);
}

/** True if process numbers are the machine's, and not those of a container. Throws SysError. */
export function isInitialPidNamespace(): boolean {
  return findStatus("/proc/self/ns/pid")?.identity.endsWith(`:${initialPidNamespace}`) ?? false;
}

/** The kernel's number of this thread's namespace, unique until reboot; undefined before Linux 5.14. */
export function netnsCookie(): string | undefined {
  using socket = Socket.open(AF_UNIX, SOCK_DGRAM, 0, "a socket to ask for the namespace's number");
  return socket.netnsCookie();
}

/** Moves this thread into a new network namespace, and returns a descriptor of it, to be closed by `closeFd`. Throws SysError. */
export function enterNewNetns(): number {
  syscall("unshare", "a new network namespace", CLONE_NEWNET);
  return openFile(ownNetns);
}

/** Moves this thread into the namespace of a descriptor. Ends the process if it cannot, like `withNetns`. */
export function returnTo(fd: number): void {
  comeBack(fd);
}

function enter(path: string): void {
  const fd = openNetns(path);
  try {
    syscall("setns", path, fd, CLONE_NEWNET);
  } finally {
    closeFd(fd);
  }
}

/** Ends the process if it cannot leave a pod's namespace, because it would configure the pod as if it were the node. */
function comeBack(fd: number): void {
  const result = rawSyscall("setns", fd, CLONE_NEWNET);
  if (result >= 0) return;
  const error = new SysError("setns", -result, "the namespace that was left before");
  writeFd(2, new TextEncoder().encode(`wg-cni: ${escapeControls(error.message)}; giving up\n`));
  exitProcess(1);
}
