// Three nodes whose agents know of each other by the API, a pod on each, and what a test
// asks them: the peers that they have, what they refuse, whether all is encrypted.
import { addNode, wgJson } from "../../kernel/support/mesh-reference.ts";
import type { Agent, AgentOptions } from "../../lab/agent.ts";
import type { Lab } from "../../lab/lab.ts";
import { knowsPeers } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { ApiServer } from "./api-server.ts";
import { joinByApi } from "./join.ts";

export interface Trio {
  readonly nodes: readonly [Node, Node, Node];
  readonly agents: [Agent, Agent, Agent];
  /** In the order of the nodes. */
  readonly pods: readonly [Pod, Pod, Pod];
}

/** Resolves when each knows the others. */
export async function joinThree(lab: Lab, server: ApiServer, options: AgentOptions = {}): Promise<Trio> {
  const nodes: Node[] = [];
  for (const index of [1, 2, 3]) nodes.push(await addNode(lab, index));
  for (const node of nodes) node.strictReversePath();
  const agents = await joinByApi(server, nodes, options);
  await Promise.all(nodes.map((node) => knowsPeers(node, nodes)));
  const pods: Pod[] = [];
  for (const node of nodes) pods.push(await addSamplePod(node, `p${node.name}`));
  return { nodes, agents, pods } as unknown as Trio;
}

/** As in conf/. */
export async function addSamplePod(node: Node, name: string): Promise<Pod> {
  const pod = node.pod(name);
  await node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
  return pod;
}

/** Each with the next one. */
export function ring([p1, p2, p3]: Trio["pods"]) {
  return [
    [p1, p2],
    [p2, p3],
    [p3, p1],
  ] as const;
}

export interface ListedPeer {
  readonly name: string;
  readonly source: string;
  /** Sentences about what it claims. */
  readonly refused: readonly string[];
}

export interface RefusedRecord {
  readonly file: string;
  readonly reason: string;
}

export async function peersOf(node: Node): Promise<readonly ListedPeer[]> {
  return (await wgJson<{ peers: readonly ListedPeer[] }>(node, ["peer", "list"])).peers;
}

export async function refusedOf(node: Node): Promise<readonly RefusedRecord[]> {
  return (await wgJson<{ rejectedRecords: readonly RefusedRecord[] }>(node, ["peer", "list"]))
    .rejectedRecords;
}

export async function isEncrypted(node: Node, peer: string): Promise<boolean> {
  const { peers } = JSON.parse((await node.wg(["status", "--json"])).stdout) as {
    peers: readonly { name: string; reach: string }[];
  };
  return peers.some(({ name, reach }) => name === peer && reach === "tunnel");
}

/** Until each sends to each of the others through the tunnel. */
export async function allEncrypt(nodes: readonly Node[]): Promise<void> {
  for (const node of nodes)
    for (const peer of nodes)
      if (peer !== node)
        await waitUntil(() => isEncrypted(node, peer.name), {
          what: `${node.name} encrypting to ${peer.name}`,
          timeoutMs: 60_000,
        });
}
