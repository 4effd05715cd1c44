// The enclosure in which a lab node runs its container runtime: the node's namespaces, and
// control groups, plugins, /dev/shm and temporary directories of its own, so that
// a runtime with its usual paths meets nothing of the machine's and of other nodes.

import { mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Lab } from "../../lab/lab.ts";
import {
  CommandError,
  type Completed,
  Namespaces,
  type Running,
  type RunOptions,
} from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { binary } from "../../lab/paths.ts";

export const binDir = "/opt/cni/bin";
export const confDir = "/etc/cni/net.d";

const groupRoot = "/sys/fs/cgroup";
const groupNamespace = "/run/cgroup.ns";
/** Processes live in a leaf of the tree: a group that has controlled groups below it may have none. */
const join = ["sh", "-euc", `echo 0 >${groupRoot}/runtime/cgroup.procs; exec "$@"`, "join"];
const referencePlugins = "/usr/lib/cni";
/** The machine's are not hidden by the lab. */
const environment = { HOME: "/run/home", TMPDIR: "/run/tmp" };

export class Enclosure extends Namespaces {
  private constructor(readonly node: Node) {
    super(node.name, [...node.enter, `--cgroup=${node.outsidePath(groupNamespace)}`]);
  }

  /** Of a lab that has a control group. */
  static create(lab: Lab, node: Node): Enclosure {
    if (lab.controlGroup === undefined) throw new Error(`Lab ${lab.name} was made without a control group`);
    const group = `/run/cgroup/${lab.controlGroup}/${node.name}`;
    const plugins = readdirSync(referencePlugins).map((name) => `${referencePlugins}/${name}`);
    node.script([
      "for directory in /opt /dev/shm /var/tmp; do mount -t tmpfs tmpfs $directory; done",
      `mkdir -p /run/cgroup /run/home /run/tmp ${binDir} ${confDir}`,
      `ln -s ${[...plugins, binary].join(" ")} ${binDir}/`,
      "mount -t cgroup2 cgroup2 /run/cgroup",
      `mkdir ${group}`,
      `echo $$ >${group}/cgroup.procs`,
      `touch ${groupNamespace} /etc/resolv.conf`,
      // Mounted in there, it shows the node's groups and none above, whoever looks.
      `unshare --cgroup=${groupNamespace} sh -euc "mount -t cgroup2 cgroup2 ${groupRoot}; mkdir ${groupRoot}/runtime"`,
      "umount /run/cgroup",
    ]);
    return new Enclosure(node);
  }

  /** A file of the node; its directory is made. Exchanged in one step, as who watches it may read it at once. */
  write(path: string, text: string): void {
    const outside = this.node.outsidePath(path);
    mkdirSync(dirname(outside), { recursive: true });
    writeFileSync(`${outside}.new`, text);
    renameSync(`${outside}.new`, outside);
  }

  /** As must(), without blocking. */
  async mustRun(command: readonly string[], options: RunOptions = {}): Promise<string> {
    const completed = await this.run(command, options);
    if (completed.exitCode !== 0) throw new CommandError(this.label, completed);
    return completed.stdout;
  }

  override exec(command: readonly string[], options: RunOptions = {}): Completed {
    return super.exec([...join, ...command], withEnvironment(options));
  }

  override start(command: readonly string[], options: RunOptions = {}): Running {
    return super.start([...join, ...command], withEnvironment(options));
  }
}

function withEnvironment(options: RunOptions): RunOptions {
  return { ...options, env: { ...environment, ...options.env } };
}
