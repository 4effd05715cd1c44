// `npm run bench -- scale`: what an agent takes among 5,000 nodes, with a real API
// server that has their records. Peers are in a userspace WireGuard and exist on
// paper only: nobody answers. While figures of rest are taken, their gates are open
// as those of a cluster at rest are, so nothing asks them to.
//
//   scripts/bench scale [--quick] [--json] [--enforce] [--peers N]

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import minimist from "minimist";
import { giveAccount, registerNode, startAgent } from "../../cluster/support/join.ts";
import { paperRecord, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { openStage, present, show } from "../stage.ts";
import { measureAdds } from "./adds-beside.ts";
import { Cluster } from "./cluster.ts";
import type { Figures, Memory } from "./figures.ts";
import { measureFirstSync } from "./first-sync.ts";
import { cpuMsOf, memoryOf } from "./process.ts";
import { report } from "./report.ts";
import { measureChange, measureNoop, measureRelist, Routes } from "./watched.ts";

const args = minimist(process.argv.slice(2), {
  boolean: ["quick", "json", "enforce"],
  default: { peers: 5000 },
});
const peers = Number(args["peers"]);
const quick: boolean = args["quick"];
const restSeconds = quick ? 30 : 180;
const turns = quick ? 5 : 20;
const rounds = quick ? 1 : 5;
/** Garbage is given back and passes that were requested are over. */
const settleMs = 30_000;
const timeoutMs = 120_000;
const debug = ["--log-level", "debug"];
const records = Array.from({ length: peers }, (_, i) => paperRecord(i + 1));

const { lab, addNode, run } = await openStage("scale");
await run(main);

/** Measures and prints; returns the exit code. */
async function main(): Promise<number> {
  const count = peers.toLocaleString("en");
  const cluster = await show(`an API server with ${count} nodes`, () => Cluster.start(lab, peers));
  const n1 = await addNode(1);
  const imported = await show("an agent with as many peers and no API", () => measureImported(n1));
  const settled = await show("the same agent with the API", () => settle(cluster, n1));
  const rest = await show(`nothing changes for ${restSeconds} s`, () => measureRest(cluster, settled.agent));
  const { noop, change } = await show("passes with nothing to do, and changes, in turn", () =>
    measureTurns(cluster, n1, settled.agent),
  );
  const relist = await show("the API server forgets", () => measureRelist(cluster, n1, settled.agent));
  const api = { ...settled.memory, peak: memoryOf(settled.agent.pid).peak };
  await settled.agent.stop();
  const joined = await show("a node that joins", async () => measureJoining(cluster, await addNode(2)));
  const n3 = await addNode(3);
  const firstSync = await show("the first sync, beside wg and ip", async () =>
    measureFirstSync(n3, records, rounds),
  );
  const n4 = await addNode(4);
  const adds = await show("ADDs beside the first sync", () => measureAdds(lab, n4, records));
  const [, load = 0] = readFileSync("/proc/loadavg", "utf8").split(" ").map(Number);
  const figures: Figures = {
    ...{ peers, load, cores: cpus().length, memory: { imported, api, joined: joined.memory } },
    ...{ start: joined.start, rest, noop, change, relist, adds, firstSync },
  };
  return present(figures, report(figures), { json: args["json"], enforce: args["enforce"] });
}

/** Without an agent routes are installed at once; the agent finds them and keeps the gates open. */
async function measureImported(node: Node): Promise<Memory> {
  await wgMust(node, ["up", ...node.upArguments]);
  await wgMust(node, ["peer", "import", "-"], { stdin: JSON.stringify(records), timeoutMs });
  const agent = await node.agent();
  await Bun.sleep(settleMs);
  const memory = memoryOf(agent.pid);
  await agent.stop();
  return memory;
}

async function settle(cluster: Cluster, node: Node): Promise<{ agent: Agent; memory: Memory }> {
  await registerNode(cluster.server, node);
  await giveAccount(cluster.server, node);
  const agent = await startAgent(node, { args: debug });
  await agent.waitFor("this node's record is published", timeoutMs);
  await Bun.sleep(settleMs);
  return { agent, memory: memoryOf(agent.pid) };
}

async function measureRest(cluster: Cluster, agent: Agent): Promise<Figures["rest"]> {
  const { asked, bytes } = cluster;
  const from = agent.lines().length;
  const cpuMs = cpuMsOf(agent.pid);
  await Bun.sleep(restSeconds * 1000);
  const changes = agent
    .lines()
    .slice(from)
    .filter(({ message }) => message === "reconciled");
  return {
    ...{ seconds: restSeconds, requests: cluster.requests(asked), bytes: cluster.bytes - bytes },
    cpuMs: cpuMsOf(agent.pid) - cpuMs,
    writes: changes.reduce((sum, { writes }) => sum + Number(writes), 0),
  };
}

async function measureTurns(
  cluster: Cluster,
  node: Node,
  agent: Agent,
): Promise<Pick<Figures, "noop" | "change">> {
  const routes = new Routes(node);
  const noop: Figures["noop"][number][] = [];
  const change: Figures["change"][number][] = [];
  for (let i = 1; i <= turns; i++) {
    noop.push(await measureNoop(node, agent));
    change.push(await measureChange(cluster, node, agent, routes, i));
  }
  return { noop, change };
}

async function measureJoining(
  cluster: Cluster,
  node: Node,
): Promise<{ memory: Memory; start: Figures["start"] }> {
  await registerNode(cluster.server, node);
  await giveAccount(cluster.server, node);
  const { asked, bytes } = cluster;
  const startMs = Date.now();
  const agent = await startAgent(node, { args: debug });
  const line = await agent.waitFor(({ writes }) => Number(writes) >= peers, timeoutMs);
  const start = { requests: cluster.requests(asked), bytes: cluster.bytes - bytes };
  await Bun.sleep(settleMs);
  const memory = memoryOf(agent.pid);
  await agent.stop();
  return { memory, start: { ...start, joinedMs: Date.parse(line.time) - startMs } };
}
