// A node of the lab: network, mount, and UTS namespaces of its own, with private
// /run, /etc and /var/lib, so that the sockets, keys and databases of several
// nodes do not meet and the machine's own stay untouched.

import { existsSync, readdirSync, readlinkSync } from "node:fs";
import type { Family } from "../../src/net/ip.ts";
import { Agent, type AgentOptions } from "./agent.ts";
import { type Holder, hold } from "./holder.ts";
import { type Completed, Namespaces, type Running, type RunOptions } from "./namespaces.ts";
import { binary, cniPath, repository } from "./paths.ts";
import { PluginServer } from "./plugin-server.ts";
import { Pod } from "./pod.ts";
import { Runtime } from "./runtime.ts";
import { serveHttp } from "./traffic.ts";

export interface NodeOptions {
  readonly ip4: string;
  readonly ip6?: string;
  readonly podCidrs: readonly string[];
  /** Of the uplink, 1500 unless told. */
  readonly mtu?: number;
  /** A directory on disk to be the node's /var/lib; memory when absent. */
  readonly storage?: string;
  /** An executable that the node gets a copy of, as by install(); without it all nodes share the built one. */
  readonly executable?: string;
}

/** The files that programs need in /etc; the rest of the machine's /etc is hidden. */
const etcNames =
  "alternatives group hosts iproute2 ld.so.cache localtime nsswitch.conf passwd protocols services";
const hiddenDirectories = ["/etc", "/run", "/var/lib"];
/** The directory of a node's own plugin, private to it. */
const ownPlugins = "/run/plugins";

export class Node extends Namespaces {
  /** Runs .conflist files in this node as a container runtime would. */
  readonly runtime: Runtime;
  /** The default of the product, and private to this node. */
  readonly stateDir = "/var/lib/wg-cni";
  readonly pods: Pod[] = [];
  /** Those that were started here, ended ones too. */
  readonly agents: Agent[] = [];
  #pluginServer: Promise<PluginServer> | undefined;
  #hasOwn = false;
  readonly podCidrs: readonly string[];
  readonly pid: number;
  readonly innerPid: number;
  /** A process in the namespace of the lab's bridge, as the test process sees it. */
  readonly wirePid: number;
  /** Path of the node's network namespace, valid outside of it. */
  readonly netns: string;

  private constructor(
    readonly name: string,
    readonly options: NodeOptions,
    holder: Holder,
    lab: Holder,
    readonly gateways: Readonly<Record<Family, string>>,
    /** A directory that all nodes of the lab and the test see under this path; it goes with the lab. */
    readonly sharedDirectory: string,
  ) {
    super(name, ["-t", `${holder.pid}`, "-m", "-u", "-p", "-n"]);
    this.pid = holder.pid;
    this.innerPid = holder.innerPid;
    this.wirePid = lab.pid;
    this.netns = `/proc/${holder.pid}/ns/net`;
    this.podCidrs = options.podCidrs;
    this.runtime = new Runtime(this);
  }

  /** Ends every process in its network namespace, as a power failure does. Called by Lab.remove() and Lab.reboot(). */
  end(): void {
    const netns = readlinkSync(this.netns);
    // Processes may be started meanwhile by those that are ended last.
    for (let found = true; found; ) {
      const pids = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && isIn(pid, netns));
      found = pids.length > 0;
      for (const pid of pids) tryToKill(Number(pid));
      Bun.sleepSync(2);
    }
  }

  /** Called by Lab.node(), which also plugs it into the bridge. */
  static async create(
    name: string,
    options: NodeOptions,
    lab: Holder,
    gateways: Readonly<Record<Family, string>>,
    sharedDirectory: string,
  ): Promise<Node> {
    const hidden = hiddenDirectories.find((directory) => repository.startsWith(`${directory}/`));
    if (hidden)
      throw new Error(`A lab node hides ${hidden}, but the repository is in it: ${repository}. Move it.`);
    const wrapper = ["nsenter", "-t", `${lab.pid}`, "-p", "--", "unshare", "--net", "--mount", "--uts"];
    const holder = await hold(wrapper, setup(name, options.storage));
    const node = new Node(name, options, holder, lab, gateways, sharedDirectory);
    if (options.executable !== undefined) node.install(options.executable);
    return node;
  }

  /** Configures the uplink once the lab has made it. */
  connect(mtu: number, lengths: Readonly<Record<Family, number>>): void {
    const lines = [`ip link set eth0 mtu ${mtu}`];
    for (const family of [4, 6] as const) {
      const ip = this.ip(family);
      if (ip) lines.push(`ip address add ${ip}/${lengths[family]} dev eth0${family === 6 ? " nodad" : ""}`);
    }
    lines.push("ip link set eth0 up");
    for (const family of [4, 6] as const)
      if (this.ip(family)) lines.push(`ip route add default via ${this.gateways[family]} dev eth0`);
    this.script(lines);
  }

  /** The node's underlay address. */
  ip(family: Family): string | undefined {
    return family === 4 ? this.options.ip4 : this.options.ip6;
  }

  get nodeIps(): string[] {
    return [this.options.ip4, this.options.ip6].filter((ip) => ip !== undefined);
  }

  /** An empty network namespace, as a runtime makes it before ADD. */
  pod(name: string): Pod {
    const pod = Pod.create(this, name);
    this.pods.push(pod);
    return pod;
  }

  /** The node's executable: agent, command line and plugin. */
  get executable(): string {
    return this.#hasOwn ? `${ownPlugins}/wg-cni` : binary;
  }

  /** The directories that its runtime searches for plugins, in this order. */
  get cniPath(): readonly string[] {
    return this.#hasOwn ? [ownPlugins, ...cniPath] : cniPath;
  }

  /** Replaces the node's executable in place, as an upgrade does. What runs goes on with the old one. */
  install(executable: string): void {
    const target = `${ownPlugins}/wg-cni`;
    this.script([`mkdir -p ${ownPlugins}`, `cp ${executable} ${target}.new`, `mv ${target}.new ${target}`]);
    this.#hasOwn = true;
  }

  /** Arguments that make `wg-cni up` configure this node. */
  get upArguments(): string[] {
    return [
      ...["--node", this.name, "--endpoint", this.options.ip4],
      ...this.nodeIps.flatMap((ip) => ["--node-ip", ip]),
      ...this.podCidrs.flatMap((cidr) => ["--pod-cidr", cidr]),
    ];
  }

  /** The product's command line; --state-dir and the seal key are the node's private defaults. */
  wg(args: readonly string[], options: RunOptions = {}): Promise<Completed> {
    return this.run([this.executable, ...args], options);
  }

  /** Starts a plugin server, as the agent does, and resolves when it takes calls; the same one if it is there. */
  async servePlugin(): Promise<PluginServer> {
    const server = await this.#pluginServer;
    if (server === undefined || server.hasEnded) this.#pluginServer = PluginServer.start(this);
    return (await this.#pluginServer) as PluginServer;
  }

  /** Starts the product's agent here; resolves when it has looked at everything once. */
  async agent(options: AgentOptions = {}): Promise<Agent> {
    const agent = await Agent.start(this, options);
    this.agents.push(agent);
    return agent;
  }

  /**
   * Takes only packets whose source is reached where they came from (RFC 3704),
   * as many distributions have it. The kernel obeys the larger of an interface's
   * value and the one for all. Throws if it does not stand.
   */
  strictReversePath(): void {
    const files = ["all", "eth0"].map((name) => `/proc/sys/net/ipv4/conf/${name}/rp_filter`);
    const read = this.script([...files.map((file) => `echo 1 >${file}`), `cat ${files.join(" ")}`]);
    if (read !== "1\n1\n") throw new Error(`${this.name} does not keep rp_filter=1: it says ${read}`);
  }

  /** Answers every GET on port 8080 of both families with `text`; resolves when it listens. */
  serveHttp(text: string): Promise<Running> {
    return serveHttp(this, text);
  }

  /** A file of this node's mount namespace, as the test process reaches it. */
  outsidePath(path: string): string {
    return `/proc/${this.pid}/root${path}`;
  }
}

function isIn(pid: string, netns: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) === netns;
  } catch {
    return false;
  }
}

function tryToKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function setup(name: string, storage: string | undefined): string[] {
  if (storage !== undefined && !existsSync(storage)) throw new Error(`${storage} does not exist`);
  return [
    `hostname ${name}`,
    "mount -t sysfs sysfs /sys",
    "mount -t tmpfs tmpfs /run",
    storage === undefined ? "mount -t tmpfs tmpfs /var/lib" : `mount --bind ${storage} /var/lib`,
    "mkdir -p /run/etc /run/netns /run/wireguard /run/wg-cni",
    `cd /etc; for f in ${etcNames}; do [ ! -e $f ] || cp -a $f /run/etc/; done; cd /`,
    "mount --bind /run/etc /etc",
    "ip link set lo up",
    // Duplicate address detection takes 1-2 s per address; nothing is duplicate here.
    "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad",
    "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
  ];
}
