// A holder is a shell that keeps namespaces alive. It lives until its standard
// input ends, so nothing outlives the test process, not even after kill -9: the
// lab's holder is PID 1 of a PID namespace, and when that goes the kernel ends
// every process inside, tunnels, servers and captures alike.

import { existsSync } from "node:fs";

export interface Holder {
  /** As the test process sees it: for nsenter -t and /proc/PID/root. */
  readonly pid: number;
  /** As the lab's processes see it: for `ip link set DEV netns PID`. */
  readonly innerPid: number;
  /** Ends everything it holds and waits until that is gone. */
  end(): void;
}

// Line 1: /proc is still the caller's here, so this is the PID out there.
// Last lines: the shell waits for a reader instead of reading itself, because
// only a waiting shell reaps the orphans that PID 1 inherits.
const before = ["read -r pid rest </proc/self/stat", "mount -t proc proc /proc"];
const after = ['echo "ready $pid $$"', "exec 3<&0", "cat <&3 >/dev/null & wait $!"];

const endTimeoutMs = 20_000;

/**
 * `wrapper` is the unshare or nsenter command line that the shell is started by,
 * `farewell` what it does when the test process is gone without having called end().
 */
export async function hold(
  wrapper: readonly string[],
  setup: readonly string[],
  farewell: readonly string[] = [],
): Promise<Holder> {
  const script = [...before, ...setup, ...after, ...farewell].join("\n");
  const child = Bun.spawn([...wrapper, "sh", "-euc", script], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
  });
  // One line or, when the set-up failed, the end of the stream.
  const reader = child.stdout.getReader();
  let line = "";
  while (!line.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) break;
    line += new TextDecoder().decode(value);
  }
  const ready = /ready (\d+) (\d+)/.exec(line);
  if (!ready) throw new Error(`Cannot make a namespace for the lab: ${(await child.stderr.text()).trim()}`);
  const pid = Number(ready[1]);
  return { pid, innerPid: Number(ready[2]), end: () => end(pid) };
}

function end(pid: number): void {
  if (!existsSync(`/proc/${pid}`)) return;
  process.kill(pid, "SIGKILL");
  const deadline = Date.now() + endTimeoutMs;
  while (existsSync(`/proc/${pid}`)) {
    if (Date.now() > deadline)
      throw new Error(
        `The lab's first process ${pid} is still there, ${endTimeoutMs} ms after it was killed`,
      );
    Bun.sleepSync(2);
  }
}
