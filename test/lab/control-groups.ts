// The control groups of a lab whose nodes run container runtimes: one group below
// the machine's root, in it one for each node. Namespaces do not take groups along
// when they go, so they are removed here, whichever way the lab ends.
// Version 2 on every machine: it can be mounted beside the older hierarchies.

import { CommandError } from "./space.ts";

/** Where the wire's namespaces have the machine's groups. */
const root = "/run/cgroup";
/** For the kernel to finish what it has killed: 5 s. */
const tries = 100;

let groups = 0;

/** Unique on the machine. */
export function nameGroup(): string {
  return `wg-cni-lab-${process.pid}-${++groups}`;
}

/** What makes the group, as lines of a lab's holder. */
export function makeGroup(group: string): string[] {
  return [`mkdir -p ${root}`, `mount -t cgroup2 cgroup2 ${root}`, `mkdir ${root}/${group}`];
}

/**
 * What removes it, as the last lines of process 1 of the lab: only then has all else
 * in there ended. A group that is busy for good is left, rather than the lab with it.
 */
export function endGroup(group: string): string[] {
  return ["kill -s KILL -- -1 || true", ...removal(group)];
}

/** The same when the lab has ended. Throws CommandError where a group stays. */
export function removeGroup(group: string): void {
  const script = [`mount -t cgroup2 cgroup2 /run`, ...removal(group, "/run"), `[ ! -e /run/${group} ]`];
  const command = ["unshare", "--mount", "sh", "-euc", script.join("\n")];
  const start = performance.now();
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdin: "ignore" });
  if (exitCode === 0) return;
  const said = { stdout: `${stdout}`, stderr: `${stderr} control group ${group} is still in use` };
  const milliseconds = performance.now() - start;
  throw new CommandError("the machine", { command, exitCode, milliseconds, ...said });
}

function removal(group: string, at = root): string[] {
  return [
    "tries=0",
    `while [ -e ${at}/${group} ] && [ $tries -lt ${tries} ]; do`,
    `  find ${at}/${group} -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05`,
    "  tries=$((tries + 1))",
    "done",
  ];
}
