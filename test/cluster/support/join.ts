// Nodes of a lab as nodes of a cluster: a Node object each, and an agent that has
// what its pod would have (service account, NODE_NAME), and nothing else is told.
import { mkdirSync, writeFileSync } from "node:fs";
import type { Agent, AgentOptions } from "../../lab/agent.ts";
import { gateways } from "../../lab/lab.ts";
import type { Node } from "../../lab/node.ts";
import type { ApiServer } from "./api-server.ts";
import { createNode, mintToken } from "./nodes.ts";

const account = "/run/secrets/kubernetes.io/serviceaccount";

/** As its kubelet and the controller manager make it. */
export async function registerNode(server: ApiServer, node: Node): Promise<void> {
  await createNode(server.admin, node.name, { internalIPs: node.nodeIps, podCIDRs: node.podCidrs });
}

/** Makes the files that the kubelet puts into the agent's pod; a second call makes another token. `change` edits them. */
export async function giveAccount(
  server: ApiServer,
  node: Node,
  change = (token: string) => token,
): Promise<void> {
  const directory = node.outsidePath(account);
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/ca.crt`, server.admin.credentials.ca);
  writeFileSync(`${directory}/namespace`, "kube-system");
  writeFileSync(`${directory}/token`, change(await mintToken(server.admin, node.name)));
}

/** The agent as the DaemonSet starts it. */
export function startAgent(node: Node, { args = [], env = {}, ...rest }: AgentOptions = {}): Promise<Agent> {
  const cluster = { KUBERNETES_SERVICE_HOST: gateways[4], KUBERNETES_SERVICE_PORT: "6443" };
  return node.agent({
    ...rest,
    args: ["--kubernetes", ...args],
    env: { ...cluster, NODE_NAME: node.name, ...env },
  });
}

/** Registers them and starts an agent on each. */
export async function joinByApi(
  server: ApiServer,
  nodes: readonly Node[],
  options: AgentOptions = {},
): Promise<Agent[]> {
  for (const node of nodes) {
    await registerNode(server, node);
    await giveAccount(server, node);
  }
  return Promise.all(nodes.map((node) => startAgent(node, options)));
}
