// A whole Kubernetes cluster out of namespaces: the control plane beside the wire,
// and nodes with a container runtime, a kubelet and a proxy of their own.
//
//   test process ── relay ─┐
//        n1, n2, n3 ── br0 ┴─ kube-apiserver, etcd, controllers, scheduler
//         └ containerd, kubelet, kube-proxy, pods

import { mkdirSync, writeFileSync } from "node:fs";
import { type ClusterAssets, findClusterAssets } from "../../../scripts/kube-assets.ts";
import { ApiServer } from "../../cluster/support/api-server.ts";
import { adminKubeconfig } from "../../cluster/support/kubeconfig.ts";
import { createNode, nodesPath } from "../../cluster/support/nodes.ts";
import { Lab } from "../../lab/lab.ts";
import { binary } from "../../lab/paths.ts";
import { Service } from "../../lab/service.ts";
import { waitUntil } from "../../lab/wait.ts";
import { writeImage, writeProgramImage } from "../../runtime/support/image.ts";
import type { ProxyMode } from "./config.ts";
import { Machine } from "./machine.ts";

export const productImage = "wg-cni.test/wg-cni:0.1.0";
/** A kubelet starting pods on a machine that does other work too. */
export const soonMs = 90_000;

export class SmallCluster {
  readonly machines: Machine[] = [];
  readonly #images: readonly string[];

  private constructor(
    readonly lab: Lab,
    readonly server: ApiServer,
    readonly proxyMode: ProxyMode,
  ) {
    const archives = [`${lab.sharedDirectory}/busybox.tar`, `${lab.sharedDirectory}/wg-cni.tar`] as const;
    writeImage(archives[0]);
    writeProgramImage(archives[1], productImage, "wg-cni", binary);
    this.#images = archives;
  }

  /** Resolves when all nodes are ready. `reversePathFilters` are the nodes', n1's first. */
  static async create(
    proxyMode: ProxyMode,
    reversePathFilters: readonly (0 | 1 | 2)[],
  ): Promise<SmallCluster> {
    const lab = await Lab.create("small", { hasControllers: true });
    try {
      const assets = findClusterAssets();
      if (assets === undefined)
        throw new Error("a program of the small cluster is missing: run scripts/small-cluster-assets");
      const server = await startControlPlane(lab, assets);
      const cluster = new SmallCluster(lab, server, proxyMode);
      mkdirSync(`${lab.sharedDirectory}/disks`);
      const machines = await Promise.all(
        reversePathFilters.map((filter, at) => cluster.#boot(at + 1, filter)),
      );
      cluster.machines.push(...machines);
      return cluster;
    } catch (error) {
      lab[Symbol.dispose]();
      throw error;
    }
  }

  /** A further node. Resolves when it is ready. */
  async join(index: number, reversePathFilter: 0 | 1 | 2): Promise<Machine> {
    const machine = await this.#boot(index, reversePathFilter);
    this.machines.push(machine);
    return machine;
  }

  async #boot(index: number, reversePathFilter: 0 | 1 | 2): Promise<Machine> {
    const { lab, server, proxyMode } = this;
    await createNode(server.admin, `n${index}`, {
      internalIPs: [`192.0.2.${index}`],
      podCIDRs: [`10.244.${index}.0/24`],
    });
    const options = { index, proxyMode, reversePathFilter, images: this.#images };
    const machine = await Machine.create(lab, server, options);
    await this.ready(machine);
    return machine;
  }

  /** Switches a node off for good. Resolves when the API has forgotten it and its pods. */
  async leave(machine: Machine): Promise<void> {
    await machine.powerOff();
    this.machines.splice(this.machines.indexOf(machine), 1);
    await this.server.admin.remove(`${nodesPath}/${machine.name}`);
  }

  /** An administrator's, as the nodes reach the API. */
  writeKubeconfig(path: string): void {
    writeFileSync(path, adminKubeconfig(this.server, this.server.nodeUrl));
  }

  /** Resolves when the API says that the node is ready. */
  async ready({ name, kubelet }: Machine): Promise<void> {
    let conditions: readonly { readonly type: string; readonly status: string }[] = [];
    const look = async () => {
      conditions = (await this.server.admin.get(`${nodesPath}/${name}`))["status"].conditions ?? [];
      return conditions.some(({ type, status }) => type === "Ready" && status === "True");
    };
    await waitUntil(look, {
      what: () => `node ${name} is ready: ${JSON.stringify(conditions)}\n${kubelet.said}`,
      timeoutMs: soonMs,
      everyMs: 100,
    });
  }

  /** Ends everything; nothing stays on the machine. */
  [Symbol.dispose](): void {
    this.lab[Symbol.dispose]();
  }
}

async function startControlPlane(lab: Lab, assets: ClusterAssets): Promise<ApiServer> {
  const pki = `${lab.sharedDirectory}/kube`;
  const server = await ApiServer.create(lab, [
    `--kubelet-client-certificate=${pki}/admin.crt`,
    `--kubelet-client-key=${pki}/admin.key`,
    "--kubelet-preferred-address-types=InternalIP",
    // So that pods reach it by its service.
    "--endpoint-reconciler-type=lease",
  ]);
  // ApiServer has written it for the controllers that it starts when it is told to.
  const common = [`--kubeconfig=${pki}/controllers.json`, "--leader-elect=false"];
  const serving = (log: readonly string[]) => log.some((line) => line.includes("Serving securely"));
  const controllers = [
    ...["--root-ca-file", `${pki}/ca.crt`, "--service-account-private-key-file", `${pki}/tokens.key`],
    "--allocate-node-cidrs=false",
  ];
  const services = [
    new Service(lab.wire, [assets["kube-controller-manager"], ...common, ...controllers], serving),
    new Service(lab.wire, [assets["kube-scheduler"], ...common], serving),
  ];
  await Promise.all(services.map((service) => service.start()));
  return server;
}
