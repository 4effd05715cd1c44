// containerd on a lab node, spoken to by CRI as the kubelet does (crictl) and by
// its own client (ctr). Its shims and containers outlive it, as they do on a real
// node, and end with the lab.

import { findRuntimeAssets } from "../../../scripts/runtime-assets.ts";
import type { Node } from "../../lab/node.ts";
import { Service } from "../../lab/service.ts";
import { waitUntil } from "../../lab/wait.ts";
import { binDir, confDir, type Enclosure } from "./enclosure.ts";
import { imageName } from "./image.ts";

const socket = "/run/containerd/containerd.sock";

/**
 * Debian's default but for what a machine may withhold from its root and no test is
 * about: lowering the OOM score, AppArmor, and limits, whose controllers are with
 * version 1 of the control groups on some machines.
 */
const config = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${imageName}"
  disable_apparmor = true
  disable_cgroup = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "${binDir}"
  conf_dir = "${confDir}"
`;

// biome-ignore lint/suspicious/noExplicitAny: crictl's JSON has no types.
type Json = any;

/** A pod as the kubelet sees it. */
export interface Sandbox {
  readonly id: string;
  readonly name: string;
  /** In the node's file system; without /var/run, a link that leads out of the node where it is read from outside. */
  readonly netns: string;
  /** Of every family, the first one first. */
  readonly ips: readonly string[];
}

export class Containerd {
  readonly #service: Service;

  private constructor(readonly enclosure: Enclosure) {
    // It answers before what speaks CRI has read what there is.
    const asks = [
      ["ctr", "version"],
      [crictlPath(), "info"],
    ];
    const isReady = () => asks.every((ask) => enclosure.exec(ask).exitCode === 0);
    this.#service = new Service(enclosure, ["containerd"], isReady);
  }

  /** Resolves when it runs and has the image, of which `archive` is the file. */
  static async create(enclosure: Enclosure, archive: string): Promise<Containerd> {
    enclosure.write("/etc/containerd/config.toml", config);
    enclosure.write("/etc/crictl.yaml", `runtime-endpoint: unix://${socket}\ntimeout: 30\n`);
    const containerd = new Containerd(enclosure);
    await containerd.start();
    for (const namespace of ["k8s.io", "default"])
      enclosure.must(["ctr", "--namespace", namespace, "image", "import", archive]);
    const hasImage = async () => (await containerd.crictl("images", "--quiet")) !== "";
    await waitUntil(hasImage, { what: "the image is known to the CRI" });
    return containerd;
  }

  get node(): Node {
    return this.enclosure.node;
  }

  start(): Promise<void> {
    return this.#service.start();
  }

  /** SIGKILL, of the daemon and the plugins that it runs. */
  kill(): Promise<void> {
    return this.#service.kill();
  }

  /** Returns its output. Throws if it fails. */
  async crictl(...args: readonly string[]): Promise<string> {
    return (await this.enclosure.mustRun([crictlPath(), ...args])).trim();
  }

  /** RunPodSandbox, with port 80 of the pod as `hostPort` of the node if that is told. Throws if it fails. */
  async runPod(name: string, hostPort?: number): Promise<Sandbox> {
    const id = await this.crictl("runp", this.#podFile(name, hostPort));
    const { status, info } = await this.inspect(id);
    const { ip, additionalIps = [] } = status.network;
    const netns = info.runtimeSpec.linux.namespaces.find(({ type }: Json) => type === "network").path;
    return {
      id,
      name,
      netns: netns.replace(/^\/var\/run\//, "/run/"),
      ips: [ip, ...additionalIps.map((other: Json) => other.ip)],
    };
  }

  /** PodSandboxStatus. */
  async inspect(id: string): Promise<Json> {
    return JSON.parse(await this.crictl("inspectp", id));
  }

  /** A container of the image in the pod, running. Returns its ID. */
  async runContainer({ id, name }: Sandbox, command?: readonly string[]): Promise<string> {
    const file = `/run/container-${name}.json`;
    const container = { metadata: { name }, image: { image: imageName }, log_path: `${name}.log`, linux: {} };
    this.enclosure.write(file, JSON.stringify({ ...container, ...(command && { command }) }));
    const made = await this.crictl("create", id, file, this.#podFile(name));
    return this.crictl("start", made);
  }

  /** StopPodSandbox and RemovePodSandbox. */
  async removePod(id: string): Promise<void> {
    await this.crictl("stopp", id);
    await this.crictl("rmp", id);
  }

  /** Returns the network part of `crictl info`. */
  async network(): Promise<{ readonly isReady: boolean; readonly plugins: readonly string[] }> {
    const { status, cniconfig } = JSON.parse(await this.crictl("info"));
    const { status: isReady } = status.conditions.find(({ type }: Json) => type === "NetworkReady");
    const own = cniconfig.Networks.find(({ IFName }: Json) => IFName === "eth0");
    return { isReady, plugins: own?.Config.Plugins.map(({ Network }: Json) => Network.type) ?? [] };
  }

  /** Resolves once it has read that its network has these plugins. */
  async hasRead(plugins: readonly string[]): Promise<void> {
    let seen: readonly string[] = [];
    const look = async () => {
      seen = (await this.network()).plugins;
      return seen.join() === plugins.join();
    };
    await waitUntil(look, { what: () => `containerd has ${plugins}, not ${seen}` });
  }

  #podFile(name: string, hostPort?: number): string {
    const file = `/run/pod-${name}.json`;
    const metadata = { name, namespace: "default", uid: `uid-${name}` };
    const port_mappings = hostPort === undefined ? [] : [{ container_port: 80, host_port: hostPort }];
    this.enclosure.write(
      file,
      JSON.stringify({ metadata, port_mappings, log_directory: "/run/logs", linux: {} }),
    );
    return file;
  }
}

function crictlPath(): string {
  return findRuntimeAssets()?.crictl ?? "crictl";
}
