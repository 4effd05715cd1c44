// The product in the small cluster, as an administrator has it: its manifests by
// kubectl, its command line on a node.

import { readFileSync, writeFileSync } from "node:fs";
import { findClusterAssets } from "../../../scripts/kube-assets.ts";
import { adminKubeconfig } from "../../cluster/support/kubeconfig.ts";
import { agentPods } from "../../cluster/support/pod-life.ts";
import { repository } from "../../lab/paths.ts";
import { waitUntil } from "../../lab/wait.ts";
import { productImage, type SmallCluster, soonMs } from "./cluster.ts";
import type { Machine } from "./machine.ts";

export const plugin = "/opt/cni/bin/wg-cni";
const daemonSetPath = "/apis/apps/v1/namespaces/kube-system/daemonsets/wg-cni";

export interface Completed {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An administrator's, beside the cluster. */
export async function kubectl(
  cluster: SmallCluster,
  args: readonly string[],
  stdin = "",
): Promise<Completed> {
  const config = `${cluster.lab.sharedDirectory}/admin.kubeconfig`;
  writeFileSync(config, adminKubeconfig(cluster.server));
  const child = Bun.spawn([findClusterAssets()?.kubectl ?? "kubectl", ...args], {
    env: { HOME: cluster.lab.sharedDirectory, KUBECONFIG: config, PATH: "/usr/bin:/bin" },
    stdin: Buffer.from(stdin),
    ...{ stdout: "pipe", stderr: "pipe", timeout: 60_000 },
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { exitCode: await child.exited, stdout, stderr };
}

/** One of conf/, with the image of this cluster; `args` are further ones of the agent. */
export function manifest(file: string, args: readonly string[] = []): string {
  const yaml = readFileSync(`${repository}/conf/${file}`, "utf8").replaceAll(
    "image: wg-cni:0.1.0",
    `image: ${productImage}`,
  );
  const last = "            - --log-format=text\n";
  return yaml.replace(last, `${last}${args.map((arg) => `            - ${arg}\n`).join("")}`);
}

/** Applies it; resolves when the pods of all nodes are ready and of this version. */
export async function rollOut(cluster: SmallCluster, yaml: string): Promise<void> {
  const applied = await kubectl(cluster, ["apply", "-f", "-"], yaml);
  if (applied.exitCode !== 0) throw new Error(`kubectl apply: ${applied.stderr}`);
  await rolledOut(cluster);
}

/** Resolves when the agents of all nodes are ready. */
export async function rolledOut(cluster: SmallCluster): Promise<void> {
  const { admin } = cluster.server;
  let said = "";
  const look = async () => {
    for (const machine of cluster.machines) startDevices(machine);
    const { metadata, status } = await admin.get(daemonSetPath);
    said = JSON.stringify(status);
    return (
      status.observedGeneration === metadata["generation"] &&
      status.desiredNumberScheduled === cluster.machines.length &&
      status.updatedNumberScheduled === cluster.machines.length &&
      status.numberAvailable === cluster.machines.length
    );
  };
  const pods = async () => JSON.stringify((await agentPods(admin)).map(({ status }) => status));
  try {
    await waitUntil(look, { what: "the agents of all nodes", timeoutMs: 2 * soonMs, everyMs: 250 });
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${said}\n${await pods()}`);
  }
}

/**
 * This kernel may have no WireGuard, and a userspace one is the node's to start, not the
 * container's: see docs/install/kubernetes.md, Rights. Without an identity there is nothing to start yet.
 */
export function startDevices({ host }: Machine): void {
  const hasDevices = host.exec(["ip", "link", "show", "wg-cni-b"]).exitCode === 0;
  if (!hasDevices && host.exec([plugin, "node", "show"]).exitCode === 0) host.exec([plugin, "sync"]);
}
