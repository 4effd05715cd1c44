// A lab is a small cluster out of namespaces:
//
//        n1               n2               n3          one node each: its own network,
//   pods─┤           pods─┤           pods─┤           mounts, host name; pods inside
//        │ eth0           │ eth0           │ eth0
//   ─────┴────────────────┴────────────────┴─────      br0, in a namespace of the lab's
//
// Between nodes there is plain routing (`pod CIDR via node IP`), as kindnet does
// it. Nothing on the machine itself changes, and nothing survives the lab.

import { mkdtempSync, rmSync } from "node:fs";
import { type Family, familyOf } from "../../src/net/ip.ts";
import { Capture } from "./capture.ts";
import { endGroup, hierarchiesOfVersion1, makeGroup, nameGroup, removeGroup } from "./control-groups.ts";
import { type Holder, hold } from "./holder.ts";
import { Namespaces } from "./namespaces.ts";
import { Node, type NodeOptions } from "./node.ts";

/** The next hop of the nodes' default routes; nothing answers beyond it. */
export const gateways: Readonly<Record<Family, string>> = { 4: "192.0.2.254", 6: "2001:db8::fe" };

const underlayLengths: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };

export interface LabOptions {
  /** For nodes that run containers: a control group of the lab's own, `Lab.controlGroup`. */
  readonly hasControlGroup?: boolean;
  /** The same group in every hierarchy that this machine has with version 1, `Lab.hierarchies`. */
  readonly hasControllers?: boolean;
}

/** The parts of a lab that was started. */
interface Started {
  readonly holder: Holder;
  readonly wire: Namespaces;
  readonly sharedDirectory: string;
  readonly controlGroup: string | undefined;
  readonly hierarchies: readonly string[];
}

export class Lab {
  readonly nodes: Node[] = [];
  #started: Started | undefined;
  #captures = 0;

  /** The lab has no namespaces until it is started. */
  constructor(
    readonly name: string,
    private readonly options: LabOptions = {},
  ) {}

  /** Returns a lab that is started. */
  static async create(name = "lab", options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(name, options);
    await lab.start();
    return lab;
  }

  /** The namespace of the bridge: what runs here sees the wire. */
  get wire(): Namespaces {
    return this.#state.wire;
  }

  /** The same for all nodes and the test: of the machine's directories to write to, nodes do not hide /tmp. */
  get sharedDirectory(): string {
    return this.#state.sharedDirectory;
  }

  /** Its name below the root of control groups. */
  get controlGroup(): string | undefined {
    return this.#state.controlGroup;
  }

  /** Those of version 1 that the group is in too. */
  get hierarchies(): readonly string[] {
    return this.#state.hierarchies;
  }

  get #state(): Started {
    if (this.#started === undefined) throw new Error(`The lab ${this.name} was not started`);
    return this.#started;
  }

  /** Makes the namespaces; a lab that has ended starts anew, without nodes. Needs root, unshare(1), nsenter(1) and ip(8). */
  async start(): Promise<void> {
    this.nodes.length = 0;
    const { hasControllers = false, hasControlGroup = hasControllers } = this.options;
    const unshare = ["unshare", "--net", "--mount", "--pid", "--fork"];
    const sharedDirectory = mkdtempSync("/tmp/wg-cni-lab-");
    const group = hasControlGroup ? nameGroup() : undefined;
    const hierarchies = hasControllers ? hierarchiesOfVersion1() : [];
    const setup = [
      "mount -t tmpfs tmpfs /run",
      "mount -t sysfs sysfs /sys",
      "ip link set lo up",
      "ip link add br0 type bridge forward_delay 0 mcast_snooping 0",
      `ip address add ${gateways[4]}/${underlayLengths[4]} dev br0`,
      `ip address add ${gateways[6]}/${underlayLengths[6]} dev br0 nodad`,
      "ip link set br0 up",
      "ip route add 224.0.0.0/4 dev br0",
      ...(group === undefined ? [] : makeGroup(group, hierarchies)),
    ];
    // The directory last: what runs in the group may still write to it.
    const farewell = [
      ...(group === undefined ? [] : endGroup(group, hierarchies)),
      `rm -rf ${sharedDirectory}`,
    ];
    const holder = await hold(unshare, setup, farewell).catch((error) => {
      rmSync(sharedDirectory, { recursive: true });
      throw error;
    });
    const wire = new Namespaces(`${this.name}/wire`, ["-t", `${holder.pid}`, "-m", "-p", "-n"]);
    this.#started = { holder, wire, sharedDirectory, controlGroup: group, hierarchies };
  }

  /** Adds a node and the routes between it and the ones before it. */
  async node(name: string, options: NodeOptions): Promise<Node> {
    const node = await Node.create(name, options, this.#state.holder, gateways, this.sharedDirectory);
    this.nodes.push(node);
    const port = `ip link add ${name} type veth peer name eth0 netns ${node.innerPid}`;
    const mtu = options.mtu ?? 1500;
    this.wire.script([port, `ip link set ${name} mtu ${mtu} master br0 up`]);
    node.connect(mtu, underlayLengths);
    for (const other of this.nodes) {
      if (other === node) continue;
      node.script(other.podCidrs.map((cidr) => routeTo(other, cidr)));
      other.script(node.podCidrs.map((cidr) => routeTo(node, cidr)));
    }
    return node;
  }

  /** Switches a node off: its processes end, its namespaces go; the other nodes keep their routes to it. */
  remove(node: Node): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    node.end();
    // The kernel tears a network namespace down some time later, and with it the other end.
    const port = `/sys/class/net/${node.name}`;
    this.wire.script([
      `while [ -e ${port} ]; do ip link delete ${node.name} 2>/dev/null || sleep 0.01; done`,
    ]);
  }

  /**
   * The node as after a reboot: the same /var/lib, and nothing of its kernel, /etc and /run. `setup`
   * runs before anything of the product does. Only for nodes with a `storage`.
   */
  async reboot(node: Node, setup: readonly string[] = []): Promise<Node> {
    const { name, options } = node;
    if (options.storage === undefined) throw new Error(`${name} has no storage that outlives it`);
    this.remove(node);
    const next = await this.node(name, options);
    const bootId = "/proc/sys/kernel/random/boot_id";
    next.script([
      `cat /proc/sys/kernel/random/uuid >/run/boot_id`,
      `mount --bind /run/boot_id ${bootId}`,
      ...setup,
    ]);
    return next;
  }

  /** Starts to capture everything on the bridge, or what a filter of pcap-filter(7) lets through. */
  capture(filter?: string): Promise<Capture> {
    return Capture.start(this, `/run/capture-${++this.#captures}.pcap`, filter);
  }

  /** A file of the wire's mount namespace, as the test process reaches it. */
  wirePath(path: string): string {
    return `/proc/${this.#state.holder.pid}/root${path}`;
  }

  /** Ends every process of the lab; the namespaces go with them. A lab that was not started has none. */
  [Symbol.dispose](): void {
    if (this.#started === undefined) return;
    const { holder, sharedDirectory, controlGroup, hierarchies } = this.#started;
    holder.end();
    if (controlGroup !== undefined) removeGroup(controlGroup, hierarchies);
    rmSync(sharedDirectory, { recursive: true, force: true });
  }
}

function routeTo(node: Node, cidr: string): string {
  const family = familyOf(cidr.slice(0, cidr.indexOf("/")));
  const via = node.ip(family);
  if (via === undefined) throw new Error(`${node.name} has pod CIDR ${cidr} but no IPv${family} address`);
  // The one to a node that was there before and starts anew has stayed.
  return `ip route replace ${cidr} via ${via} dev eth0`;
}
