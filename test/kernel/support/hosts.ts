// What the tests of hosts that others have configured share.
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";

/** A pod on each node; in turn chained behind ptp and made by wg-cni itself. */
export async function addPods(nodes: readonly Node[]): Promise<Pod[]> {
  const pods: Pod[] = [];
  for (const [i, node] of nodes.entries()) {
    const pod = node.pod(`p${i + 1}`);
    await node.runtime.add(i % 2 === 0 ? chainedBehindPtp(node) : standalone(), pod);
    pods.push(pod);
  }
  return pods;
}

function chainedBehindPtp(node: Node) {
  const list = readConfList(`${repository}/conf/10-ptp.conflist`);
  const ranges = node.podCidrs.map((subnet) => [{ subnet }]);
  return {
    ...list,
    plugins: list.plugins.map((plugin) =>
      plugin.type === "ptp" ? { ...plugin, ipam: { ...(plugin["ipam"] as object), ranges } } : plugin,
    ),
  };
}

function standalone() {
  return readConfList(`${repository}/conf/10-wg-cni.conflist`);
}

/** Of the uplink and all; the kernel obeys the larger one. */
export function setReversePath(node: Node, filter: number): void {
  node.script(["all", "eth0"].map((name) => `echo ${filter} >/proc/sys/net/ipv4/conf/${name}/rp_filter`));
}
