// `npm run bench -- growth`: how the agent's figures grow with the number of peers, as a table in Markdown for
// docs/operations/scale.md. There is no API server: records are committed to the store, as an agent does with
// what it hears. Peers are in a userspace WireGuard and exist on paper only.
//
//   scripts/bench growth [--quick] [--peers 10,100,1000,5000]

import { cpus, loadavg } from "node:os";
import minimist from "minimist";
import { print, spin, unspin } from "../../../scripts/stage/screen.ts";
import { readBootId } from "../../../src/linux/boot.ts";
import { Store } from "../../../src/state/store.ts";
import { paperRecord, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { measureFirstSync } from "../scale/first-sync.ts";
import { cpuMsOf, memoryOf } from "../scale/process.ts";
import { measureNoop, measurePass, Routes } from "../scale/watched.ts";
import { openStage } from "../stage.ts";
import type { ChangeCost, Growth } from "./figures.ts";
import { growthTable } from "./page.ts";

const args = minimist(process.argv.slice(2), {
  boolean: ["quick"],
  string: ["peers"],
  default: { peers: "10,100,1000,5000" },
});
const counts = (args["peers"] as string).split(",").map(Number);
const turns = args["quick"] ? 3 : 10;
const rounds = args["quick"] ? 1 : 3;
const restSeconds = args["quick"] ? 12 : 40;
/** Garbage is given back and passes that were requested are over. */
const settleMs = 15_000;
const timeoutMs = 120_000;

const { addNode, run } = await openStage("growth");
await run(main);

async function main(): Promise<number> {
  const growths: Growth[] = [];
  for (const [i, peers] of counts.entries()) {
    spin(`${peers.toLocaleString("en")} peers`);
    growths.push(await measure(peers, 2 * i + 1));
  }
  unspin();
  const [, load = 0] = loadavg();
  const cores = cpus().length;
  print(
    `${growthTable(growths)}\n\n${turns} passes of each kind; ${load.toFixed(1)} processes wanted the ${cores} cores.`,
  );
  return 0;
}

async function measure(peers: number, index: number): Promise<Growth> {
  const records = Array.from({ length: peers }, (_, i) => paperRecord(i + 1));
  const node = await addNode(index);
  await wgMust(node, ["up", ...node.upArguments]);
  await wgMust(node, ["peer", "import", "-"], { stdin: JSON.stringify(records), timeoutMs });
  const agent = await node.agent({ args: ["--log-level", "debug"] });
  await Bun.sleep(settleMs);
  const cpuMs = cpuMsOf(agent.pid);
  await Bun.sleep(restSeconds * 1000);
  const restMs = ((cpuMsOf(agent.pid) - cpuMs) / restSeconds) * 60;
  const { resident, proportional } = memoryOf(agent.pid);
  const passes = await measurePasses(node, agent);
  const { peak } = memoryOf(agent.pid);
  await agent.stop();
  const { ours, commands } = measureFirstSync(await addNode(index + 1), records, rounds);
  return {
    ...{ peers, restMs, memory: { resident, proportional, peak } },
    ...{ ...passes, firstSync: { ours, commands } },
  };
}

async function measurePasses(node: Node, agent: Agent): Promise<Pick<Growth, "noop" | "change">> {
  using store = Store.open(`${node.options.storage}/wg-cni`, readBootId());
  const routes = new Routes(node);
  const noop: Growth["noop"][number][] = [];
  const change: ChangeCost[] = [];
  for (let i = 1; i <= turns; i++) {
    noop.push(await measureNoop(node, agent));
    change.push(await measureChange(store, agent, routes, i));
  }
  return { noop, change };
}

/** One peer gets other pods: number `i` of such changes. */
async function measureChange(store: Store, agent: Agent, routes: Routes, i: number): Promise<ChangeCost> {
  const cidr = `10.200.${i}.0/24`;
  let programmedMs = 0;
  const pass = await measurePass(agent, async () => {
    const startMs = performance.now();
    store.putPeers([paperRecord(1, { podCIDRs: [cidr] })]);
    programmedMs = (await routes.seen(cidr)) - startMs;
  });
  return { ...pass, programmedMs };
}
