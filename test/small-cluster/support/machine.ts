// A node of the small cluster: a lab's node with control groups, a disk that outlives
// a reboot, containerd 2, a kubelet and kube-proxy, each at its usual paths.

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { findContainerdAssets } from "../../../scripts/containerd-assets.ts";
import { findClusterAssets } from "../../../scripts/kube-assets.ts";
import type { ApiServer } from "../../cluster/support/api-server.ts";
import { makeKubeconfig } from "../../cluster/support/kubeconfig.ts";
import { issueClient } from "../../cluster/support/pki.ts";
import type { Lab } from "../../lab/lab.ts";
import {
  CommandError,
  type Completed,
  Namespaces,
  type Running,
  type RunOptions,
} from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { Service } from "../../lab/service.ts";
import { containerdConfig, kubeletConfig, type ProxyMode, proxyConfig } from "./config.ts";
import { endNodeGroups, groupNamespace, joinGroups, makeNodeGroups } from "./groups.ts";
import { networkList, networkRules, pluginNames } from "./network.ts";

export interface MachineOptions {
  readonly index: number;
  readonly proxyMode: ProxyMode;
  /** Of the uplink and of all. */
  readonly reversePathFilter: 0 | 1 | 2;
  /** Archives of images. */
  readonly images: readonly string[];
}

/** Directories that a reboot leaves as they are. */
const disk = ["/var/lib", "/opt", "/etc/cni", "/etc/wg-cni"];
/** The kernel settings of the whole machine that a kubelet sets (setupKernelTunables): it gets files of its own. */
const kernelSettings = [
  ...["vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"],
  ...["kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"],
];
/** The machine's are not hidden by the lab. */
const environment = { HOME: "/run/home", TMPDIR: "/run/tmp" };

/** The daemons run in the node's namespaces and control groups. */
class Host extends Namespaces {
  constructor(
    node: Node,
    readonly path: string,
  ) {
    super(node.name, [...node.enter, `--cgroup=${node.outsidePath(groupNamespace)}`]);
  }

  override exec(command: readonly string[], options: RunOptions = {}): Completed {
    return super.exec([...joinGroups, ...command], this.#withEnvironment(options));
  }

  override start(command: readonly string[], options: RunOptions = {}): Running {
    return super.start([...joinGroups, ...command], this.#withEnvironment(options));
  }

  #withEnvironment(options: RunOptions): RunOptions {
    return { ...options, env: { ...environment, PATH: this.path, ...options.env } };
  }
}

export class Machine {
  node!: Node;
  host!: Host;
  containerd!: Service;
  kubelet!: Service;
  proxy!: Service;
  /** Programs of the tests that run in its namespaces. */
  readonly servers: Running[] = [];

  private constructor(
    readonly lab: Lab,
    readonly server: ApiServer,
    readonly options: MachineOptions,
  ) {}

  /** Resolves when its daemons run. Its Node object is there before: the controllers of this cluster give no CIDRs. */
  static async create(lab: Lab, server: ApiServer, options: MachineOptions): Promise<Machine> {
    const machine = new Machine(lab, server, options);
    const { name, directory } = machine;
    for (const path of disk) mkdirSync(`${directory}${path}`, { recursive: true });
    issueClient(server.pki, name, `/O=system:nodes/CN=system:node:${name}`);
    await machine.boot();
    return machine;
  }

  get name(): string {
    return `n${this.options.index}`;
  }

  get ip(): string {
    return `192.0.2.${this.options.index}`;
  }

  get podCidr(): string {
    return `10.244.${this.options.index}.0/24`;
  }

  /** The node's disk. */
  get directory(): string {
    return `${this.lab.sharedDirectory}/disks/${this.name}`;
  }

  /** Switches it on: what is on its disk is as it was, all else is new. */
  async boot(): Promise<void> {
    const { lab, options, name, ip, podCidr, directory } = this;
    const storage = `${directory}/var/lib`;
    this.node = await lab.node(name, { ip4: ip, podCidrs: [podCidr], storage });
    const filters = ["all", "default", "eth0"].map((at) => `/proc/sys/net/ipv4/conf/${at}/rp_filter`);
    this.node.script([
      ...filters.map((file) => `echo ${options.reversePathFilter} >${file}`),
      ...disk.slice(1).map((path) => `mkdir -p ${path}; mount --bind ${directory}${path} ${path}`),
      // The directories that a kubelet writes beside /var/lib and /run.
      "for directory in /var/log /var/tmp /dev/shm; do mount -t tmpfs tmpfs $directory; done",
      "mkdir -p /run/home /run/tmp /etc/cni/net.d /opt/cni/bin /etc/kubernetes /etc/containerd",
      "touch /etc/resolv.conf",
      ...kernelSettings.flatMap(hideSetting),
      // As systemd has it: what is mounted later reaches containers that ask for it.
      "mount --make-rshared /",
    ]);
    makeNodeGroups(lab, this.node);
    this.#configure();
    this.#makeServices();
    await this.#startServices();
  }

  /** Without a word to anybody, as by its power switch. */
  async powerOff(): Promise<void> {
    await Promise.all(this.servers.splice(0).map((server) => server.stop("SIGKILL")));
    await endNodeGroups(this.lab, this.name);
    this.lab.remove(this.node);
  }

  /** A file of the node; its directory is made. */
  write(path: string, text: string): void {
    const outside = this.node.outsidePath(path);
    mkdirSync(dirname(outside), { recursive: true });
    writeFileSync(outside, text);
  }

  /** As must(), without blocking. */
  async mustRun(command: readonly string[], options: RunOptions = {}): Promise<string> {
    const completed = await this.host.run(command, options);
    if (completed.exitCode !== 0) throw new CommandError(this.name, completed);
    return completed.stdout;
  }

  #configure(): void {
    const { node, server, options, podCidr, ip } = this;
    const { directory } = server.pki;
    const cluster = { server: server.nodeUrl, "certificate-authority": `${directory}/ca.crt` };
    const user = (name: string) => ({
      "client-certificate": `${directory}/${name}.crt`,
      "client-key": `${directory}/${name}.key`,
    });
    this.write("/etc/containerd/config.toml", containerdConfig);
    this.write("/etc/kubernetes/kubelet.kubeconfig", makeKubeconfig(cluster, user(this.name)));
    this.write("/etc/kubernetes/proxy.kubeconfig", makeKubeconfig(cluster, user("admin")));
    this.write("/etc/kubernetes/kubelet.json", kubeletConfig(`${directory}/ca.crt`));
    this.write("/etc/kubernetes/proxy.json", proxyConfig(options.proxyMode, this.name, ip));
    // Those of a new disk only: what others have made of the network since stays theirs.
    if (readdirSync(node.outsidePath("/etc/cni/net.d")).length === 0)
      this.write("/etc/cni/net.d/10-kindnet.conflist", networkList(podCidr));
    node.script([
      `cp -n ${pluginNames.map((name) => `/usr/lib/cni/${name}`).join(" ")} /opt/cni/bin/`,
      ...networkRules(options.proxyMode),
    ]);
  }

  #makeServices(): void {
    const containerd = findContainerdAssets();
    const kube = findClusterAssets();
    if (containerd === undefined || kube === undefined)
      throw new Error("a program of the small cluster is missing: run scripts/small-cluster-assets");
    const own = dirname(containerd.containerd);
    const host = new Host(this.node, `${own}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`);
    this.host = host;
    this.containerd = new Service(
      host,
      [containerd.containerd],
      () => host.exec(["ctr", "version"]).exitCode === 0,
    );
    const kubelet = [
      ...["--config=/etc/kubernetes/kubelet.json", "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig"],
      ...[`--hostname-override=${this.name}`, `--node-ip=${this.ip}`],
    ];
    const said = (text: string) => (log: readonly string[]) => log.some((line) => line.includes(text));
    this.kubelet = new Service(host, [kube.kubelet, ...kubelet], said("Started kubelet"));
    const proxy = [kube["kube-proxy"], "--config=/etc/kubernetes/proxy.json"];
    this.proxy = new Service(host, proxy, said("Starting"));
  }

  async #startServices(): Promise<void> {
    await this.containerd.start();
    const present = await this.mustRun(["ctr", "--namespace", "k8s.io", "image", "list", "--quiet"]);
    if (present.trim() === "")
      for (const archive of this.options.images)
        await this.mustRun(["ctr", "--namespace", "k8s.io", "image", "import", archive], {
          timeoutMs: 120_000,
        });
    await Promise.all([this.kubelet.start(), this.proxy.start()]);
  }
}

function hideSetting(setting: string): string[] {
  const [file, copy] = [`/proc/sys/${setting}`, `/run/settings/${setting}`];
  return [`mkdir -p ${dirname(copy)}; cat ${file} >${copy}; mount --bind ${copy} ${file}`];
}
