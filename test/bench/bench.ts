// `npm run bench`: the plugin's verbs beside Debian's reference plugins, in one
// run and taking turns, as a table with medians, p90, ratios and budgets.
//
//   scripts/bench [--quick] [--json] [--enforce]

import { join } from "node:path";
import minimist from "minimist";
import { print, red, spin, unspin, yellow } from "../../scripts/stage/screen.ts";
import { joinMesh } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import { report } from "./report.ts";
import type { Measured, Options } from "./samples.ts";
import { openStage } from "./stage.ts";

const measureTimeoutMs = 600_000;

const args = minimist(process.argv.slice(2), { boolean: ["quick", "json", "enforce"] });
const { lab, storage, run } = await openStage("bench");
await run(main);

/** Measures and prints; returns the exit code. */
async function main(): Promise<number> {
  spin("two nodes, and a mesh between them");
  const n1 = await lab.node("n1", { ...addresses(1), storage });
  const n2 = await lab.node("n2", addresses(2));
  const problem = await whyNoMesh([n1, n2]);
  const options: Options = {
    product: problem === undefined,
    ...(args["quick"]
      ? { iterations: 10, warmup: 1, bursts: [50], burstRounds: 1 }
      : { iterations: 60, warmup: 5, bursts: [50, 100], burstRounds: 5 }),
  };
  const measured = await measure(n1, options);
  unspin();
  const { lines, missedBudgets } = report(measured);
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
