// The servers of the small cluster's paths: on each node a web server in the pods' network, with a port of the
// node, and one in the node's own network; for each a service with a node port of either policy.

import type { Pod } from "../../lab/pod.ts";
import { waitUntil } from "../../lab/wait.ts";
import { type SmallCluster, soonMs } from "./cluster.ts";
import type { Machine } from "./machine.ts";
import { enterPod, hostWebPort, podReady, podsPath, webPod, webPort } from "./pods.ts";

const servicesPath = "/api/v1/namespaces/default/services";
/** Of a node, that lead to its pod: see portmap. */
export const hostPort = 8088;

/** A node and the place in its pod. */
export interface Site {
  readonly machine: Machine;
  readonly pod: Pod;
}

/** The servers that have a service of their own. */
export const backends = ["pod", "host"] as const;
export type Backend = (typeof backends)[number];
export const policies = ["Cluster", "Local"] as const;
export type Policy = (typeof policies)[number];

/** The pods of a node, by what they serve. */
export function podNames(node: string): Readonly<Record<Backend, string>> {
  return { pod: `pod-${node}`, host: `host-${node}` };
}

/** Distinct for each backend, policy and node. */
export function clusterIp(backend: Backend, { options }: Machine): string {
  return `10.96.${10 + backends.indexOf(backend)}.${options.index}`;
}

export function nodePort(backend: Backend, policy: Policy, { options }: Machine): number {
  return 30_000 + 1000 * backends.indexOf(backend) + 100 * policies.indexOf(policy) + options.index;
}

/** Makes the servers and services of a node; resolves when they serve. */
export async function addSite(cluster: SmallCluster, machine: Machine): Promise<Site> {
  await addServers(cluster, machine);
  return servingSite(cluster, machine);
}

async function addServers({ server: { admin } }: SmallCluster, machine: Machine): Promise<void> {
  const { name } = machine;
  const names = podNames(name);
  await admin.create(podsPath, webPod(names.pod, { node: name, hostPort }));
  await admin.create(podsPath, webPod(names.host, { node: name, hostNetwork: true }));
  for (const backend of backends)
    for (const policy of policies) await admin.create(servicesPath, service(backend, policy, machine));
}

/** Resolves when the node's servers serve. */
export async function servingSite(cluster: SmallCluster, machine: Machine): Promise<Site> {
  const names = podNames(machine.name);
  await podReady(cluster, names.host);
  const find = async () => enterPod(machine, await podReady(cluster, names.pod));
  const pod = await waitUntil(find, {
    // After a reboot the API has what was before, for a while.
    what: () => `the pod of ${machine.name} that the API knows is there`,
    ...{ timeoutMs: soonMs, everyMs: 100 },
  });
  const datagrams = `${import.meta.dir}/udp-server.ts`;
  for (const [space, name, port] of [
    [pod as Pod, names.pod, webPort],
    [machine.node, names.host, hostWebPort],
  ] as const) {
    const server = space.start([process.execPath, "--smol", datagrams, name, `${port}`]);
    machine.servers.push(server);
    await server.saidOnStderr("listening");
  }
  return { machine, pod: pod as Pod };
}

function service(backend: Backend, policy: Policy, machine: Machine): object {
  const app = podNames(machine.name)[backend];
  const targetPort = backend === "pod" ? webPort : hostWebPort;
  return {
    ...{ apiVersion: "v1", kind: "Service" },
    metadata: { name: `${app}-${policy.toLowerCase()}` },
    spec: {
      ...{ type: "NodePort", selector: { app }, externalTrafficPolicy: policy },
      ...(policy === "Cluster" ? { clusterIP: clusterIp(backend, machine) } : {}),
      ports: ["TCP", "UDP"].map((protocol) => ({
        ...{ name: protocol.toLowerCase(), protocol, port: 80, targetPort },
        nodePort: nodePort(backend, policy, machine),
      })),
    },
  };
}
