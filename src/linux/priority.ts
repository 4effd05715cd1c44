// The share of a processor that a process gets beside others of its control group (setpriority(2)).
import { listDirectory } from "./file.ts";
import { rawSyscall } from "./syscall.ts";

const PRIO_PROCESS = 0;
/** About ten times the share of a process with the usual 0 (sched(7)). */
const preferred = -10;

/** Prefers all threads of this process to others' from now on. Without the right (CAP_SYS_NICE) nothing changes. */
export function tryPreferProcess(): void {
  // Each thread has a priority of its own, and new ones get that of the thread that starts them.
  for (const thread of listDirectory("/proc/self/task"))
    rawSyscall("setpriority", PRIO_PROCESS, Number(thread), preferred);
}
