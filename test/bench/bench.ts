// `npm run bench`: the plugin's verbs beside Debian's reference plugins, the current ones and cilium-cni, in one
// run and taking turns, as a table with medians, spread, ratios and budgets. A whole run writes
// docs/operations/benchmark.md and its picture too.
//
//   scripts/bench [--quick] [--json] [--enforce] [--processes]
//
// `--processes`: without an agent, so that each call is done by its own process.

import { writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { dirname, join } from "node:path";
import minimist from "minimist";
import { findCiliumCni } from "../../scripts/cilium-assets.ts";
import { findRuntimeAssets } from "../../scripts/runtime-assets.ts";
import { print, red, spin, unspin, yellow } from "../../scripts/stage/screen.ts";
import { disk } from "../../src/install/disk.ts";
import { joinMesh } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import { repository } from "../lab/paths.ts";
import { findPlugin } from "../lab/runtime.ts";
import { makeEmptyProgram } from "./empty-program.ts";
import { benchmarkPage, type Occasion } from "./page.ts";
import { benchmarkPlot } from "./plot.ts";
import { report } from "./report.ts";
import type { Measured, Options } from "./samples.ts";
import { openStage } from "./stage.ts";

const measureTimeoutMs = 600_000;
/** Debian's. */
const references = ["ptp", "host-local", "bridge", "tuning"];

const args = minimist(process.argv.slice(2), { boolean: ["quick", "json", "enforce", "processes"] });
const { lab, storage, run } = await openStage("bench");
await run(main);

/** Measures and prints; returns the exit code. */
async function main(): Promise<number> {
  const occasion = describeOccasion();
  spin("the executables into memory");
  const peers = findPeers();
  const emptyProgram = makeEmptyProgram(storage);
  for (const path of [...["wg-cni", ...references].map(findPlugin), emptyProgram, ...peers.paths])
    disk.warm(path);
  spin("two nodes, and a mesh between them");
  const n1 = await lab.node("n1", { ...addresses(1), storage });
  const n2 = await lab.node("n2", addresses(2));
  const problem = await whyNoMesh([n1, n2]);
  const options: Options = {
    ...{ product: problem === undefined, storage, emptyProgram, ...peers.options },
    ...(args["quick"]
      ? { iterations: 10, warmup: 1, bursts: [50], burstRounds: 1, coldStarts: 3 }
      : { iterations: 60, warmup: 5, bursts: [50, 100], burstRounds: 5, coldStarts: 10 }),
  };
  // Its plugin server does the calls, as on every node.
  if (problem === undefined && !args["processes"]) await n1.agent();
  const measured = await measure(n1, options);
  unspin();
  const { lines, missedBudgets } = report(measured);
  if (!args["quick"] && !args["processes"]) write(measured, occasion);
  if (args["json"]) print(JSON.stringify(measured));
  else print(lines.join("\n"));
  if (problem !== undefined) console.error(red(`wg-cni was left out: ${problem}`));
  if (missedBudgets > 0) console.error(yellow(`${missedBudgets} over budget.`));
  const failed = measured.bursts.some(({ failures }) => failures.length > 0);
  return problem !== undefined || failed || (args["enforce"] && missedBudgets > 0) ? 1 : 0;
}

/** The measuring process runs inside the node, so that no sample pays for nsenter. */
async function measure(node: Node, options: Options): Promise<Measured> {
  const script = join(import.meta.dir, "measure.ts");
  const running = node.start([process.execPath, script, JSON.stringify(options)], {
    timeoutMs: measureTimeoutMs,
    onStderrLine: spin,
  });
  const { exitCode, stdout, stderr } = await running.finished;
  if (exitCode !== 0) throw new Error(`The measurement ended with ${exitCode}: ${stderr.trim()}`);
  return JSON.parse(stdout) as Measured;
}

function describeOccasion(): Occasion {
  const git = (...words: string[]) =>
    Bun.spawnSync(["git", "-C", repository, ...words])
      .stdout.toString()
      .trim();
  const changes = git("status", "--porcelain") === "" ? "" : " with changes";
  return {
    date: new Date().toISOString().slice(0, 10),
    commit: `${git("rev-parse", "--short", "HEAD") || "unknown"}${changes}`,
    machine: `${cpus().length} cores (${process.arch}), Linux ${release().split("-")[0]}`,
    load: loadavg()[0] ?? 0,
  };
}

function write(measured: Measured, occasion: Occasion): void {
  const directory = join(repository, "docs/operations");
  writeFileSync(join(directory, "benchmark.md"), benchmarkPage(measured, occasion));
  writeFileSync(join(directory, "benchmark.svg"), benchmarkPlot(measured));
}

/** The plugins that are built for comparison; absent ones are left out of the tables. */
function findPeers(): { options: Pick<Options, "currentPlugins" | "cilium">; paths: string[] } {
  const assets = findRuntimeAssets();
  const cilium = findCiliumCni();
  return {
    options: {
      ...(assets === undefined ? {} : { currentPlugins: dirname(assets.ptp) }),
      ...(cilium === undefined ? {} : { cilium }),
    },
    paths: [assets?.ptp, assets?.["host-local"], assets?.bridge, assets?.tuning, cilium].filter(
      (path) => path !== undefined,
    ),
  };
}

async function whyNoMesh(nodes: readonly Node[]): Promise<string | undefined> {
  try {
    await joinMesh(nodes);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function addresses(index: number) {
  return {
    ip4: `192.0.2.${index}`,
    ip6: `2001:db8::${index}`,
    podCidrs: [`10.244.${index}.0/24`, `fd00:10:244:${index}::/64`],
  };
}
