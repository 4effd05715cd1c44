// The demo's three nodes and six pods, started and stopped through the files of
// conf/ as a container runtime would.

import type { Lab } from "../../test/lab/lab.ts";
import type { Node } from "../../test/lab/node.ts";
import { repository } from "../../test/lab/paths.ts";
import type { Pod } from "../../test/lab/pod.ts";
import { type ConfList, readConfList, withoutPlugin } from "../../test/lab/runtime.ts";
import { cyan, dim, green, print, unicode } from "./screen.ts";

/** The answer of every server; it is easy to find in a capture. */
export const secret = "Meet me at noon, and tell no one.";

const podNames = ["a", "b"] as const;
const boxWidth = 20;

export interface Cluster {
  readonly lab: Lab;
  readonly nodes: readonly [Node, Node, Node];
}

export async function createCluster(lab: Lab): Promise<Cluster> {
  const make = (index: number) =>
    lab.node(`n${index}`, {
      ip4: `192.0.2.${index}`,
      ip6: `2001:db8::${index}`,
      podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
    });
  const nodes = [await make(1), await make(2), await make(3)] as const;
  await Promise.all(nodes.map((node) => node.serveHttp(secret)));
  return { lab, nodes };
}

/** The configuration that each node's runtime reads: the samples as they are. */
export function encryptedLists(): ConfList[] {
  return ["10-ptp", "10-bridge", "10-wg-cni"].map((name) =>
    readConfList(`${repository}/conf/${name}.conflist`),
  );
}

/** The same without wg-cni; node 3, which has only wg-cni, gets ptp for its own addresses. */
export function plaintextLists(cluster: Cluster): ConfList[] {
  const [ptp, bridge] = encryptedLists().map((list) => withoutPlugin(list, "wg-cni")) as [ConfList, ConfList];
  const ranges = cluster.nodes[2].podCidrs.map((subnet) => [{ subnet }]);
  const third = ptp.plugins.map((plugin) => ({ ...plugin, ipam: { ...(plugin["ipam"] as object), ranges } }));
  return [ptp, bridge, { ...ptp, plugins: third }];
}

/** Two pods a node, all nodes at once, and a server in each. */
export async function startPods(cluster: Cluster, lists: readonly ConfList[]): Promise<void> {
  await forEachNode(cluster, lists, async (node, list) => {
    for (const name of podNames) {
      const pod = node.pod(name);
      await node.runtime.add(list, pod);
      await node.runtime.check(list, pod);
      await pod.serveHttp(secret);
    }
  });
}

export async function stopPods(cluster: Cluster, lists: readonly ConfList[]): Promise<void> {
  await forEachNode(cluster, lists, async (node, list) => {
    for (const pod of [...node.pods]) {
      await node.runtime.del(list, pod);
      pod.remove();
    }
  });
}

async function forEachNode(
  { nodes }: Cluster,
  lists: readonly ConfList[],
  work: (node: Node, list: ConfList) => Promise<void>,
): Promise<void> {
  await Promise.all(nodes.map((node, i) => work(node, lists[i] as ConfList)));
}

/** Draws the cluster: the plugins and the pods of each node, and the bridge between them. */
export function draw({ nodes }: Cluster, lists: readonly ConfList[], encrypted: boolean): void {
  const [h, v, tl, tr, bl, br, down, up] = unicode ? [..."─│┌┐└┘┬┴"] : [..."-|++++++"];
  const inner = boxWidth - 2;
  const boxes = nodes.map((node, i) => {
    const chain = (lists[i] as ConfList).plugins.map(({ type }) => type).join(" + ");
    const lines = [chain, ...node.pods.map((pod: Pod) => `${pod.name}  ${pod.ip(4)}`)];
    const half = Math.floor(inner / 2);
    return [
      ` ${node.name}  ${node.ip(4)}`.padEnd(boxWidth),
      `${tl}${h?.repeat(inner)}${tr}`,
      ...lines.map((line) => `${v} ${line.padEnd(inner - 2)} ${v}`),
      `${bl}${h?.repeat(half)}${down}${h?.repeat(inner - half - 1)}${br}`,
    ];
  });
  const height = boxes[0]?.length ?? 0;
  print();
  for (let line = 0; line < height; line++) print(`   ${boxes.map((box) => box[line]).join("   ")}`);
  const wire = (encrypted ? (unicode ? "═" : "=") : h) as string;
  const joint = (encrypted ? (unicode ? "╧" : "+") : up) as string;
  const half = Math.floor(inner / 2) + 1;
  const segment = wire.repeat(half) + joint + wire.repeat(boxWidth - half - 1);
  const line = boxes.map(() => segment).join(wire.repeat(3));
  print(`   ${encrypted ? green(line) : cyan(line)} ${dim(encrypted ? "WireGuard" : "in plaintext")}`);
  print();
}
