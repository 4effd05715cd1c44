// The cluster of a soak run: three nodes, an agent and a pod that stays on each, and records in a directory
// that all see or in Kubernetes' API server.
import { renameSync } from "node:fs";
import { ApiServer } from "../cluster/support/api-server.ts";
import { startAgent } from "../cluster/support/join.ts";
import { applyManifests, policiesObeyed } from "../cluster/support/manifests.ts";
import { addSamplePod, allEncrypt, joinThree, type Trio } from "../cluster/support/mesh.ts";
import { addNode } from "../kernel/support/mesh-reference.ts";
import type { Agent } from "../lab/agent.ts";
import type { Lab } from "../lab/lab.ts";
import { joinByRecords } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";

export interface Cluster extends Trio {
  readonly lab: Lab;
  readonly startAgent: (node: Node) => Promise<Agent>;
  /** No agent can read or write a record until `showRecords`. */
  readonly hideRecords: () => Promise<void>;
  readonly showRecords: () => Promise<void>;
}

/** Resolves when every node encrypts to the others. */
export async function startByRecords(lab: Lab): Promise<Cluster> {
  const nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)] as const;
  const { agents, recordsDir } = await joinByRecords(nodes);
  const pods = [];
  for (const node of nodes) pods.push(await addSamplePod(node, "stays"));
  await allEncrypt(nodes);
  return {
    ...({ nodes, agents: [...agents], pods } as unknown as Trio),
    lab,
    startAgent: (node) => node.agent(),
    hideRecords: async () => renameSync(recordsDir, `${recordsDir}.hidden`),
    showRecords: async () => renameSync(`${recordsDir}.hidden`, recordsDir),
  };
}

/** The same with a real API server, which is killed while the records are hidden. */
export async function startByApi(lab: Lab): Promise<Cluster> {
  const api = await ApiServer.create(lab);
  await applyManifests(api.admin, ["crd", "rbac", "policy"]);
  await policiesObeyed(api);
  const trio = await joinThree(lab, api);
  await allEncrypt(trio.nodes);
  return {
    ...trio,
    lab,
    startAgent: (node) => startAgent(node),
    hideRecords: () => api.server.kill(),
    showRecords: () => api.server.start(),
  };
}
