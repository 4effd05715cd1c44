// A real systemd as the service manager of a lab node, to try units as they are
// installed. Process 1 of a PID namespace of its own, with a control group of
// its own, in the node's network. It sees the units it is given and no others.
// Ends with the lab at the latest; its empty control groups go with dispose.
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { Namespaces } from "./namespaces.ts";
import type { Node } from "./node.ts";
import { waitUntil } from "./wait.ts";

const unitDirectory = "/run/units";
/** The root of the control groups as the node sees it. */
const cgroupRoot = "/run/cgroup";
/** systemd's own: what every unit waits for by default. */
const targets = ["default", "sysinit", "basic", "shutdown"];

// The rights that containers withhold from their systemd: it is to set up the node, not the machine.
const withheld = "-sys_module,-sys_time,-sys_boot,-sys_rawio,-syslog";

let managers = 0;

export class Systemd implements Disposable {
  private constructor(
    readonly node: Node,
    readonly inside: Namespaces,
    readonly pid: number,
    private readonly group: string,
  ) {}

  /** `units`: content by file name; "x.service.d/y.conf" for a drop-in. Resolves when it takes commands. */
  static async start(node: Node, units: Readonly<Record<string, string>>): Promise<Systemd> {
    const own = targets.map((name) => [`${name}.target`, "[Unit]\nDefaultDependencies=no\n"] as const);
    for (const [name, content] of [...own, ...Object.entries(units)]) {
      const path = node.outsidePath(`${unitDirectory}/${name}`);
      mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
      writeFileSync(path, content);
    }
    const group = `wg-cni-lab-${process.pid}-${++managers}`;
    // Later mounts in the node, such as pods' namespaces, reach systemd and its units.
    node.script([
      `mkdir -p ${cgroupRoot}`,
      `mount -t cgroup2 cgroup2 ${cgroupRoot}`,
      `mkdir ${cgroupRoot}/${group}`,
      "mount --make-rshared /",
      "[ -e /etc/machine-id ] || echo 0123456789abcdef0123456789abcdef >/etc/machine-id",
    ]);
    const running = node.start(
      ["sh", "-euc", boot, group, cgroupRoot, unitDirectory, `setpriv --bounding-set ${withheld}`],
      { timeoutMs: 0 },
    );
    const look = () => processOne(node, group) ?? 0;
    const pid = await waitUntil(look, { what: `systemd in ${node.name}` });
    const inside = new Namespaces(`${node.name}/systemd`, ["-t", `${pid}`, "-m", "-u", "-p", "-n"]);
    const systemd = new Systemd(node, inside, pid, group);
    try {
      const isUp = () => systemd.systemctl(["is-active", "basic.target"]).exitCode !== 1;
      await waitUntil(isUp, { what: `systemd in ${node.name} takes commands` });
    } catch (error) {
      const { stderr } = await running.stop("SIGKILL");
      throw new Error(`${error instanceof Error ? error.message : error}: ${stderr}`);
    }
    return systemd;
  }

  /** Never throws for an exit code. */
  systemctl(args: readonly string[]) {
    return this.inside.exec(["systemctl", ...args], { timeoutMs: 120_000 });
  }

  /** A property of a unit as systemd shows it. */
  show(unit: string, property: string): string {
    return this.inside.must(["systemctl", "show", "--value", "-p", property, unit]).trim();
  }

  [Symbol.dispose](): void {
    try {
      process.kill(this.pid, "SIGKILL");
    } catch {
      // It has ended already.
    }
    const root = this.node.outsidePath(`${cgroupRoot}/${this.group}`);
    for (let tries = 0; tries < 500 && isBusy(root); tries++) Bun.sleepSync(10);
    removeGroups(root);
  }
}

// $0 is the control group, $1 their root, $2 the directory of units, $3 what withholds rights.
// /proc/sys is the machine's but for what is below net, and so are /tmp and /var/tmp.
const boot = `
  echo 0 >$1/$0/cgroup.procs
  exec unshare --pid --fork --mount --propagation slave --cgroup --mount-proc sh -euc '
    mount --make-rshared /
    mount --bind /proc/sys /proc/sys
    mount --bind /proc/sys/net /proc/sys/net
    mount -o remount,bind,ro /proc/sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p /run/lock
    for directory in /tmp /var/tmp; do mount -t tmpfs tmpfs $directory; done
    exec env -i container=lab PATH="$PATH" SYSTEMD_UNIT_PATH="$0" SYSTEMD_LOG_TARGET=console \\
      $1 /lib/systemd/systemd --system --show-status=no
  ' $2 "$3"`;

/** systemd moves itself into a group of its own as soon as it runs. */
function processOne(node: Node, group: string): number | undefined {
  const file = node.outsidePath(`${cgroupRoot}/${group}/init.scope/cgroup.procs`);
  try {
    return Number(readFileSync(file, "utf8").split("\n")[0]) || undefined;
  } catch {
    return undefined;
  }
}

function isBusy(group: string): boolean {
  const own = readFileSync(`${group}/cgroup.procs`, "utf8");
  return own !== "" || below(group).some((name) => isBusy(`${group}/${name}`));
}

function removeGroups(group: string): void {
  for (const name of below(group)) removeGroups(`${group}/${name}`);
  rmdirSync(group);
}

function below(group: string): string[] {
  return readdirSync(group, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
}
