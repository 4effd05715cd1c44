// The control groups of a lab whose nodes run container runtimes: one group below
// the machine's root, in it one for each node. Namespaces do not take groups along
// when they go, so they are removed here, whichever way the lab ends.
// Version 2 on every machine: it can be mounted beside the older hierarchies. A lab
// whose nodes need controllers (a kubelet does) has the same group in each hierarchy
// that this machine has with version 1.

import { readFileSync } from "node:fs";
import { CommandError } from "./namespaces.ts";

/** The mount point of the machine's groups in the wire's namespaces. */
const root = "/run/cgroup";
/** For the kernel to finish what it has killed: 5 s. */
const tries = 100;

let groups = 0;

/** Unique on the machine. */
export function nameGroup(): string {
  return `wg-cni-lab-${process.pid}-${++groups}`;
}

/**
 * The hierarchies that this machine has with version 1: of a controller ("memory"), of
 * several ("cpu,cpuacct"), of none ("name=systemd"). See /proc/PID/cgroup in cgroups(7).
 */
export function hierarchiesOfVersion1(): string[] {
  const rows = readFileSync("/proc/self/cgroup", "utf8").trim().split("\n");
  return rows.map((row) => row.split(":")[1] ?? "").filter((name) => name !== "");
}

/** The usual name of its directory in /sys/fs/cgroup. */
export function hierarchyDirectory(hierarchy: string): string {
  return hierarchy.replace(/^name=/, "");
}

/** The line that mounts a hierarchy of version 1, or version 2 when none is told. */
export function mountGroups(at: string, hierarchy?: string): string {
  const none = hierarchy?.startsWith("name=") ? "none," : "";
  const type = hierarchy === undefined ? "cgroup2" : `cgroup -o ${none}${hierarchy}`;
  return `mkdir -p ${at}; mount -t ${type} cgroup ${at}`;
}

/** The mount point of a hierarchy of version 1 in the wire's namespaces. */
export function hierarchyRoot(hierarchy: string): string {
  return `${root}.${hierarchyDirectory(hierarchy)}`;
}

/** Returns the lines of a lab's holder that make the group; `hierarchies` are of version 1. */
export function makeGroup(group: string, hierarchies: readonly string[] = []): string[] {
  return [
    mountGroups(root),
    `mkdir ${root}/${group}`,
    ...hierarchies.flatMap((hierarchy) => {
      const at = hierarchyRoot(hierarchy);
      return [mountGroups(at, hierarchy), `mkdir ${at}/${group}`, ...fillCpuset(hierarchy, at, group)];
    }),
  ];
}

/** A new group of this controller may use nothing, and so may have no processes; its children are to take after it. */
function fillCpuset(hierarchy: string, at: string, group: string): string[] {
  if (!hierarchy.split(",").includes("cpuset")) return [];
  const files = ["cpuset.cpus", "cpuset.mems"];
  return [
    ...files.map((file) => `cat ${at}/${file} >${at}/${group}/${file}`),
    `echo 1 >${at}/${group}/cgroup.clone_children`,
  ];
}

/**
 * Returns the last lines of process 1 of the lab, which remove the group: only then have all other
 * processes in there ended. A group that is busy for good is left, rather than the lab with it.
 */
export function endGroup(group: string, hierarchies: readonly string[] = []): string[] {
  const roots = [root, ...hierarchies.map(hierarchyRoot)];
  return ["kill -s KILL -- -1 || true", ...roots.flatMap((at) => removal(group, at))];
}

/** The same when the lab has ended. Throws CommandError if a group stays. */
export function removeGroup(group: string, hierarchies: readonly string[] = []): void {
  const script = [undefined, ...hierarchies].flatMap((hierarchy) => [
    mountGroups("/run", hierarchy),
    ...removal(group, "/run"),
    `[ ! -e /run/${group} ]`,
    "umount /run",
  ]);
  const command = ["unshare", "--mount", "sh", "-euc", script.join("\n")];
  const start = performance.now();
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { stdin: "ignore" });
  if (exitCode === 0) return;
  const said = { stdout: `${stdout}`, stderr: `${stderr} control group ${group} is still in use` };
  const milliseconds = performance.now() - start;
  throw new CommandError("the machine", { command, exitCode, milliseconds, ...said });
}

function removal(group: string, at: string): string[] {
  return [
    "tries=0",
    `while [ -e ${at}/${group} ] && [ $tries -lt ${tries} ]; do`,
    `  find ${at}/${group} -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05`,
    "  tries=$((tries + 1))",
    "done",
  ];
}
