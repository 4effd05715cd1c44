// The control groups that a node of the small cluster sees as the machine's root: its
// own below the lab's, in the hierarchies of version 1 that this machine has, and of
// version 2 when the controllers are there. See cgroup_namespaces(7).

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { hierarchyDirectory, hierarchyRoot, mountGroups } from "../../lab/control-groups.ts";
import type { Lab } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";

const groupRoot = "/sys/fs/cgroup";
export const groupNamespace = "/run/cgroup.ns";
const outside = "/run/groups";
/** The daemons are in a group of their own, as system.slice is: a group that has controlled groups below may have no processes. */
const leaf = "runtime";

/** A command's first words: the shell that becomes it joins the node's groups. */
export const joinGroups = [
  ...["sh", "-euc"],
  `for procs in ${groupRoot}/${leaf}/cgroup.procs ${groupRoot}/*/${leaf}/cgroup.procs; do
    [ ! -e $procs ] || echo 0 >$procs
  done
  exec "$@"`,
  "join",
];

/** Makes the node's groups and mounts them in the node. */
export function makeNodeGroups({ controlGroup, hierarchies }: Lab, node: Node): void {
  if (hierarchies.length === 0) {
    makeUnifiedGroup(`${controlGroup}`, node);
    return;
  }
  const group = (hierarchy: string) =>
    `${outside}/${hierarchyDirectory(hierarchy)}/${controlGroup}/${node.name}`;
  const inside = hierarchies.flatMap((hierarchy) => [
    mountGroups(`${groupRoot}/${hierarchyDirectory(hierarchy)}`, hierarchy),
    `mkdir ${groupRoot}/${hierarchyDirectory(hierarchy)}/${leaf}`,
  ]);
  node.script([
    ...hierarchies.flatMap((hierarchy) => [
      mountGroups(`${outside}/${hierarchyDirectory(hierarchy)}`, hierarchy),
      `mkdir ${group(hierarchy)}`,
      `echo $$ >${group(hierarchy)}/cgroup.procs`,
    ]),
    `touch ${groupNamespace}`,
    `mount -t tmpfs tmpfs ${groupRoot}`,
    `unshare --cgroup=${groupNamespace} sh -euc "${inside.join("; ")}"`,
    ...hierarchies.map((hierarchy) => `umount ${outside}/${hierarchyDirectory(hierarchy)}`),
  ]);
}

/** All controllers are with version 2. */
function makeUnifiedGroup(controlGroup: string, node: Node): void {
  const parent = `${outside}/${controlGroup}`;
  const pass = (group: string) =>
    `sed 's/\\([^ ]\\+\\)/+\\1/g' ${group}/cgroup.controllers >${group}/cgroup.subtree_control`;
  node.script([
    mountGroups(outside),
    pass(outside),
    pass(parent),
    `mkdir ${parent}/${node.name}`,
    `echo $$ >${parent}/${node.name}/cgroup.procs`,
    `touch ${groupNamespace}`,
    `unshare --cgroup=${groupNamespace} sh -euc "${mountGroups(groupRoot)}; mkdir ${groupRoot}/${leaf}; echo 0 >${groupRoot}/${leaf}/cgroup.procs"`,
    `umount ${outside}`,
  ]);
}

/** Ends every process in the groups of the node, containers' and shims' too. */
export async function endNodeGroups(lab: Lab, name: string): Promise<void> {
  // Every process of the node is in a group of each hierarchy.
  const [first] = lab.hierarchies;
  const root = first === undefined ? "/run/cgroup" : hierarchyRoot(first);
  const group = lab.wirePath(`${root}/${lab.controlGroup}/${name}`);
  for (let tries = 0; tries < 200; tries++) {
    const pids = processesBelow(group);
    if (pids.length === 0) {
      removeNodeGroups(lab, name);
      return;
    }
    for (const pid of pids) endProcess(pid);
    await Bun.sleep(10);
  }
  throw new Error(`Processes of ${name} are still there 2 s after they were killed`);
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended meanwhile.
  }
}

/** As the test process sees them. */
function processesBelow(group: string): number[] {
  const own = readFileSync(join(group, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  const below = readdirSync(group).filter((entry) => statSync(join(group, entry)).isDirectory());
  return [...own, ...below.flatMap((entry) => processesBelow(join(group, entry)))];
}

function removeNodeGroups({ wire, hierarchies, controlGroup }: Lab, name: string): void {
  const roots = ["/run/cgroup", ...hierarchies.map(hierarchyRoot)];
  const find = (root: string) => `find ${root}/${controlGroup}/${name} -depth -type d -exec rmdir {} +`;
  wire.script(roots.map((root) => `[ ! -e ${root}/${controlGroup}/${name} ] || ${find(root)}`));
}
