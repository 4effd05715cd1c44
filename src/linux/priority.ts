// The share of a processor that a process gets beside others of its control group (setpriority(2)).
import { listDirectory } from "./file.ts";
import { rawSyscall } from "./syscall.ts";

const PRIO_PROCESS = 0;
/** About ten times the share of a process with the usual 0 (sched(7)). */
const preferred = -10;

/** Threads are started while others are changed; each time fewer of them by one that was not changed yet. */
const maxLooks = 10;

/** Prefers all threads of this process to others' from now on. Without the right (CAP_SYS_NICE) nothing changes. */
export function tryPreferProcess(): void {
  // Each thread has a priority of its own, and a new one gets that of the thread that starts it.
  const changed = new Set<string>();
  for (let look = 0; look < maxLooks; look++) {
    const found = listDirectory("/proc/self/task").filter((thread) => !changed.has(thread));
    if (found.length === 0) return;
    for (const thread of found) {
      rawSyscall("setpriority", PRIO_PROCESS, Number(thread), preferred);
      changed.add(thread);
    }
  }
}
