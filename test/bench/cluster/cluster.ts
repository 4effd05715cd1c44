// `npm run bench -- cluster`: several real agents among the records of many nodes in a real API server. Nodes without
// an agent exist on paper only: their records change, and nobody answers behind them. Each agent finds their gates
// open, as in a cluster at rest.
//
//   scripts/bench cluster [--quick] [--json] [--enforce] [--nodes N] [--agents N] [--rate N]

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import minimist from "minimist";
import { giveAccount, registerNode, startAgent } from "../../cluster/support/join.ts";
import { paperRecord, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Node } from "../../lab/node.ts";
import { Cluster } from "../scale/cluster.ts";
import { openStage, present, show } from "../stage.ts";
import type { ClusterFigures } from "./figures.ts";
import {
  during,
  type Member,
  measureChanges,
  measureJoin,
  measureLeave,
  measureRotation,
} from "./measure.ts";
import { measurePolicies, withoutPolicies } from "./policies.ts";
import { report } from "./report.ts";
import { TunnelRoutes } from "./routes.ts";

const args = minimist(process.argv.slice(2), {
  boolean: ["quick", "json", "enforce"],
  default: { rate: 10 },
});
const quick: boolean = args["quick"];
const nodes = Number(args["nodes"] ?? (quick ? 100 : 1000));
const agents = Number(args["agents"] ?? (quick ? 2 : 5));
const rate = Number(args["rate"]);
const seconds = quick ? 10 : 30;
/** Garbage is given back and passes that were requested are over. */
const settleMs = quick ? 5000 : 20_000;
const timeoutMs = 180_000;
const paper = Array.from({ length: nodes }, (_, i) => paperRecord(i + 1));

const { lab, addNode, run } = await openStage("cluster");
await run(main);

/** Measures and prints; returns the exit code. */
async function main(): Promise<number> {
  const cluster = await show(`an API server with ${nodes} nodes`, () => Cluster.start(lab, nodes));
  const members: Member[] = [];
  for (let index = 1; index <= agents; index++)
    members.push(
      await show(`agent ${index} of ${agents}`, async () => {
        const node = await registerMember(cluster, index);
        await openGates(node);
        return startMember(node);
      }),
    );
  await show("the agents encrypt to each other", () => Bun.sleep(settleMs));
  const rest = await show(`nothing changes for ${seconds} s`, async () => {
    const { result: _, ...load } = await during(cluster, members, () => Bun.sleep(seconds * 1000));
    return load;
  });
  const policies = await show("agents write through the policies", () => measurePolicies(cluster));
  const changes = await show(`${rate} records a second change, for ${seconds} s`, () =>
    withoutPolicies(cluster, () => measureChanges(cluster, members, { nodes, rate, seconds })),
  );
  const newcomer = await show("a node more", () => registerMember(cluster, agents + 1));
  const { joined, ...joining } = await show("a node joins", () =>
    measureJoin(cluster, members, () => startMember(newcomer)),
  );
  members.push(joined);
  const leave = await show("a node leaves", () => measureLeave(cluster, members.slice(0, agents), nodes));
  const rotation = await show("keys are exchanged", () =>
    measureRotation(cluster, members, members[0] as Member),
  );
  const [machineLoad = 0] = readFileSync("/proc/loadavg", "utf8").split(" ").map(Number);
  const figures: ClusterFigures = {
    ...{ nodes, agents, rate, machineLoad, cores: cpus().length },
    ...{ rest, policies, changes, join: joining, leave, rotation },
  };
  return present(figures, report(figures), { json: args["json"], enforce: args["enforce"] });
}

async function registerMember(cluster: Cluster, index: number): Promise<Node> {
  const node = await addNode(index);
  await registerNode(cluster.server, node);
  await giveAccount(cluster.server, node);
  return node;
}

/** Without an agent routes are installed at once; the agent that comes finds them and keeps the gates open. */
async function openGates(node: Node): Promise<void> {
  await wgMust(node, ["up", ...node.upArguments]);
  await wgMust(node, ["peer", "import", "-"], { stdin: JSON.stringify(paper), timeoutMs });
}

async function startMember(node: Node): Promise<Member> {
  const routes = new TunnelRoutes(node);
  const agent = await startAgent(node, { args: ["--log-level", "debug"] });
  await agent.waitFor("this node's record is published", timeoutMs);
  return { node, agent, routes };
}
