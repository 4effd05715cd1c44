// `npm run soak -- --minutes N`: three nodes with an agent each, under traffic, while pods come and go and
// everything is disturbed that a cluster disturbs. At the end nothing is left behind, and every packet is
// accounted for. A seed gives the same deeds at the same times.
//
//   scripts/soak [--minutes N] [--seed S] [--pods N] [--kubernetes]

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import minimist from "minimist";
import { glyphs, green, print, red, unspin } from "../../scripts/stage/screen.ts";
import type { NodeRecord } from "../../src/net/record.ts";
import { openStage, show } from "../bench/stage.ts";
import { wgJson } from "../kernel/support/mesh-reference.ts";
import type { Capture } from "../lab/capture.ts";
import { type FlowResult, flow, losses, Streams } from "../lab/stream.ts";
import { waitUntil } from "../lab/wait.ts";
import type { Loss } from "./account.ts";
import { type Cluster, startByApi, startByRecords } from "./cluster.ts";
import { Driver } from "./driver.ts";
import { findLeaks, type Rest, readRest } from "./leaks.ts";
import { type NodeIndex, planSoak, type SoakOptions } from "./plan.ts";
import { type Outcome, problemsOf, reportLines } from "./report.ts";

const args = minimist(process.argv.slice(2), {
  boolean: ["kubernetes"],
  default: { minutes: 3, pods: 120, seed: Math.floor(Math.random() * 1e6) },
});
const options: SoakOptions = {
  seed: Number(args["seed"]),
  minutes: Number(args["minutes"]),
  pods: Number(args["pods"]),
};
if (!Object.values(options).every((value) => value > 0)) {
  console.error(
    "usage: scripts/soak [--minutes N] [--seed S] [--pods N] [--kubernetes], each number above 0",
  );
  process.exit(2);
}

/** Records are in an API server, which is killed now and then, in place of a directory. */
const kubernetes: boolean = args["kubernetes"];

const indexes = [0, 1, 2] as const;
const routes: readonly (readonly [NodeIndex, NodeIndex, 4 | 6])[] = [
  ...indexes.flatMap((from) => indexes.filter((to) => to !== from).map((to) => [from, to, 4] as const)),
  [0, 1, 6],
  [1, 0, 6],
];
/** Packets a second of each flow. */
const rate = 100;
/** Two slots, each drained; nodes that meet wait for each other. */
const rotationMs = 240_000;
/** What is still there after that long has been left behind. */
const leakMs = 30_000;

const { lab, run } = await openStage("soak");
await run(main);

/** Prints the report; returns the exit code. */
async function main(): Promise<number> {
  print(`soak: ${options.minutes} minutes with seed ${options.seed} and ${options.pods} pods a minute`);
  const problems = await soak().catch((error) => {
    unspin();
    return [error instanceof Error ? error.message : String(error)];
  });
  for (const problem of problems) print(`  ${red(glyphs.no)} ${problem}`);
  const { minutes, seed, pods } = options;
  if (problems.length === 0) print(`  ${green(glyphs.yes)} nothing left behind, every packet accounted for`);
  else
    print(
      `  once more: npm run soak -- --minutes ${minutes} --seed ${seed} --pods ${pods}${kubernetes ? " --kubernetes" : ""}`,
    );
  return problems.length === 0 ? 0 : 1;
}

/** Returns what is wrong. */
async function soak(): Promise<string[]> {
  const loadBefore = machineLoad();
  const cluster = await show("three nodes, an agent and a pod on each", () =>
    (kubernetes ? startByApi : startByRecords)(lab),
  );
  const before = readRests(cluster);
  const capture = await lab.capture("net 10.244.0.0/16 or ip6 net fd00:10:244::/48");
  const driver = new Driver(cluster);
  const streams = await Streams.start(
    routes.map(([from, to, family]) => flow(cluster.pods[from], cluster.pods[to], family)),
    { rate },
  );
  await show(`${options.minutes} minutes of everything`, () => driver.run(planSoak(options)));
  await show("the last rotation ends", () => rotationsEnd(cluster));
  const results = await show("the last packets arrive", () => streams.stop());
  const plaintextMs = await timesOf(capture);
  const { leaks, after } = await show("nothing is left behind", () => settle(cluster, before));
  unspin();
  const outcome: Outcome = {
    ...{ driver, plaintextMs, leaks, before, after },
    sent: results.reduce((sum, { sent }) => sum + sent, driver.visits),
    losses: [...lossesOf(results), ...driver.losses],
    load: `${loadBefore} before and ${machineLoad()} after, with ${cpus().length} processors`,
  };
  for (const line of reportLines(outcome)) print(`  ${line}`);
  const { problems, isLossy } = problemsOf(outcome);
  return isLossy ? [...problems, JSON.stringify(losses(results), null, 2)] : problems;
}

function readRests({ nodes, agents }: Cluster): Rest[] {
  return indexes.map((index) => readRest(nodes[index], agents[index]));
}

async function rotationsEnd({ nodes }: Cluster): Promise<void> {
  for (const node of nodes)
    await waitUntil(
      async () => {
        const { slots } = await wgJson<NodeRecord>(node, ["node", "show"]);
        return slots.every(({ state }) => state === "active");
      },
      { what: `the end of the rotation of ${node.name}`, timeoutMs: rotationMs, everyMs: 500 },
    );
}

/** Waits until nothing more is there than before, or long enough. */
async function settle(cluster: Cluster, before: readonly Rest[]) {
  const deadline = performance.now() + leakMs;
  for (;;) {
    const after = readRests(cluster);
    const leaks = after.flatMap((rest, at) => findLeaks(`n${at + 1}`, before[at] as Rest, rest));
    if (leaks.length === 0 || performance.now() > deadline) return { leaks, after };
    await Bun.sleep(1000);
  }
}

function lossesOf(results: readonly FlowResult[]): Loss[] {
  return results.flatMap(({ name, lostRanges }, at) =>
    lostRanges.map(({ first, last, fromMs, toMs }) => {
      const [from, to] = routes[at] as (typeof routes)[number];
      return { flow: name, nodes: [from, to] as const, packets: last - first + 1, fromMs, toMs };
    }),
  );
}

async function timesOf(capture: Capture): Promise<number[]> {
  const packets = await capture.packets();
  await capture.stop();
  return packets.map(({ time }) => time * 1000);
}

function machineLoad(): string {
  return readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ");
}
