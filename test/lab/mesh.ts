// Makes nodes of a lab each other's peers the two ways an operator without
// Kubernetes does: `up` on each, then `node show` everywhere and `peer import` of
// the others; or a records directory that all nodes' agents share.

import { mkdirSync } from "node:fs";
import type { NodeRecord } from "../../src/net/record.ts";
import type { Agent, AgentOptions } from "./agent.ts";
import type { Completed } from "./namespaces.ts";
import type { Node } from "./node.ts";
import { waitUntil } from "./wait.ts";

/** Rejects with what the command said when any step fails. */
export async function joinMesh(
  nodes: readonly Node[],
  upOptions: readonly string[] = [],
): Promise<NodeRecord[]> {
  await Promise.all(nodes.map((node) => must(node, ["up", ...node.upArguments, ...upOptions])));
  const shown = await Promise.all(nodes.map((node) => must(node, ["node", "show", "--json"])));
  const records = shown.map(parseRecord);
  await Promise.all(
    nodes.map((node) => {
      const others = records.filter(({ name }) => name !== node.name);
      return must(node, ["peer", "import", "-"], JSON.stringify(others));
    }),
  );
  await Promise.all(nodes.map((node) => must(node, ["sync"])));
  return records;
}

export interface RecordsOptions {
  /** Further arguments of `up` on every node. */
  readonly upOptions?: readonly string[];
  readonly agent?: AgentOptions;
}

export interface RecordsMesh {
  /** The same path for the nodes and the test; a node's record is NODE.json in it. */
  readonly recordsDir: string;
  /** In the order of the nodes. */
  readonly agents: readonly Agent[];
}

/** Up on every node with one records directory, an agent on each, until each knows all the others. */
export async function joinByRecords(
  nodes: readonly Node[],
  { upOptions = [], agent }: RecordsOptions = {},
): Promise<RecordsMesh> {
  const dirs = await Promise.all(nodes.map((node) => upWithRecords(node, upOptions)));
  const agents = await Promise.all(nodes.map((node) => node.agent(agent)));
  await Promise.all(nodes.map((node) => knowsPeers(node, nodes)));
  return { recordsDir: dirs[0] as string, agents };
}

/** The first step of it, for a node that joins later or whose agent starts later. Returns the directory. */
export async function upWithRecords(node: Node, upOptions: readonly string[] = []): Promise<string> {
  const recordsDir = `${node.sharedDirectory}/records`;
  mkdirSync(recordsDir, { recursive: true });
  await must(node, ["up", ...node.upArguments, "--records-dir", recordsDir, ...upOptions]);
  return recordsDir;
}

/** Resolves when all the other nodes are peers of this one. */
export async function knowsPeers(node: Node, nodes: readonly Node[]): Promise<void> {
  const others = nodes.filter((other) => other !== node).map(({ name }) => name);
  let missing = others;
  const look = async () => {
    const { stdout } = await must(node, ["peer", "list", "--json"]);
    const { peers } = JSON.parse(stdout) as { peers: readonly { name: string }[] };
    missing = others.filter((name) => !peers.some((peer) => peer.name === name));
    return missing.length === 0;
  };
  await waitUntil(look, { what: () => `${node.name} knows ${missing.join(", ")}`, everyMs: 100 });
}

/** Takes wg-cni off the nodes again. */
export async function leaveMesh(nodes: readonly Node[]): Promise<void> {
  await Promise.all(nodes.map((node) => must(node, ["down"])));
}

function parseRecord({ command, stdout }: Completed): NodeRecord {
  try {
    return JSON.parse(stdout) as NodeRecord;
  } catch {
    throw new Error(`"${command.slice(-3).join(" ")}" printed no record but: ${stdout.trim().slice(0, 200)}`);
  }
}

async function must(node: Node, args: readonly string[], stdin?: string): Promise<Completed> {
  const done = await node.wg(args, stdin === undefined ? {} : { stdin });
  if (done.exitCode === 0) return done;
  const said = `${done.stderr}${done.stdout}`.trim() || `exit code ${done.exitCode}`;
  throw new Error(`"wg-cni ${args.join(" ")}" on ${node.name}: ${said}`);
}
