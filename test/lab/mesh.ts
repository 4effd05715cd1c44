// Makes nodes of a lab each other's peers the way an operator without Kubernetes
// does: `up` on each, `node show` everywhere, `peer import` of the others.

import type { NodeRecord } from "../../src/net/record.ts";
import type { Node } from "./node.ts";
import type { Completed } from "./space.ts";

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
