// The tests of hosts that other programs have configured share these helpers.
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { type ConfList, readConfList } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";

/** Both roles of the plugin. */
export const roles = ["chained", "standalone"] as const;
export type Role = (typeof roles)[number];

/** A handshake takes milliseconds, its reading a second, a first try that was lost five. */
const openMs = 30_000;

/** `firstIps`: where the addresses of a chained pod begin, if pods of the other role are on the node too. */
export async function addPod(
  node: Node,
  name: string,
  role: Role,
  firstIps: readonly string[] = [],
): Promise<Pod> {
  const pod = node.pod(name);
  await node.runtime.add(networkOf(node, role, firstIps), pod);
  return pod;
}

export async function removePod(node: Node, pod: Pod, role: Role): Promise<void> {
  await node.runtime.del(networkOf(node, role), pod);
  pod.remove();
}

/** A pod on each node, in turn of either role. */
export function addPods(nodes: readonly Node[]): Promise<Pod[]> {
  return Promise.all(nodes.map((node, i) => addPod(node, `p${i + 1}`, roles[i % 2] as Role)));
}

function networkOf(node: Node, role: Role, firstIps: readonly string[] = []): ConfList {
  if (role === "standalone") return readConfList(`${repository}/conf/10-wg-cni.conflist`);
  const list = readConfList(`${repository}/conf/10-ptp.conflist`);
  const ranges = node.podCidrs.map((subnet, i) => [
    { subnet, ...(firstIps[i] === undefined ? {} : { rangeStart: firstIps[i] }) },
  ]);
  return {
    ...list,
    plugins: list.plugins.map((plugin) =>
      plugin.type === "ptp" ? { ...plugin, ipam: { ...(plugin["ipam"] as object), ranges } } : plugin,
    ),
  };
}

/** Resolves when every node routes all the others' IPv4 pods into the tunnel. */
export function awaitTunnels(nodes: readonly Node[]): Promise<boolean> {
  const isOpen = (node: Node) => {
    const routes = node.must(["ip", "route", "show", "table", "18099"]);
    return (routes.match(/dev wg-cni/g) ?? []).length >= nodes.length - 1;
  };
  return waitUntil(() => nodes.every(isOpen), {
    what: "every node routes the pods of its peers into the tunnel",
    timeoutMs: openMs,
  });
}

/** Of the uplink and all; the kernel obeys the larger one. */
export function setReversePath(node: Node, filter: number): void {
  node.script(["all", "eth0"].map((name) => `echo ${filter} >/proc/sys/net/ipv4/conf/${name}/rp_filter`));
}

/** Resolves when nothing is pending: the agent has answered what was changed last. */
export function settled(node: Node): Promise<boolean> {
  return waitUntil(async () => (await node.wg(["status"])).exitCode === 0, {
    what: `${node.name} has nothing to do`,
  });
}
