// Makes a fault, reads all reports 1, 5 and 60 s later, and has every remedy tried that doctor names.
import { startAgent } from "../../cluster/support/join.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { FaultLab } from "./fault-lab.ts";
import type { Fault } from "./faults.ts";
import { judge, judgeEvidence, outcomeOf, type Sample } from "./judge.ts";
import { readReports } from "./reports.ts";

export interface Row {
  readonly fault: string;
  readonly samples: readonly Sample[];
  readonly leaked: number;
  readonly untruths: readonly string[];
  /** What mended it: "the agent", a command that doctor named, or "" if it had to be taken back. */
  readonly mendedBy: string;
}

const sampleAtS = [1, 5, 60] as const;
const recoveryMs = 120_000;

export async function runFault(faults: FaultLab, fault: Fault): Promise<Row> {
  const { agent, node, peer } = faults;
  const hasAgent = fault.agent === undefined;
  if (fault.agent === "killed") await agent.kill();
  if (fault.agent === "stopped") agent.freeze();
  const from = agent.lines().length;
  const plaintextBefore = await faults.plaintext();
  const madeAtMs = Date.now();
  if (fault.script !== undefined) node.script(fault.script);
  await fault.make?.(faults);
  const startMs = performance.now();
  const expectation = { knownAfterS: fault.knownAfterS ?? 1, hasAgent, madeAtMs };
  const samples: Sample[] = [];
  for (const seconds of sampleAtS) {
    await Bun.sleep(Math.max(0, seconds * 1000 - 500 - (performance.now() - startMs)));
    const before = await faults.measure();
    const reports = await readReports(faults, from);
    samples.push({ seconds, before, after: await faults.measure(), reports });
  }
  const last = samples.at(-1) as Sample;
  const leaked = (await faults.plaintext()) - plaintextBefore;
  const untruths = [
    ...samples.flatMap((sample) =>
      judge(sample, expectation).map((code) => `after ${sample.seconds} s: ${code}`),
    ),
    ...judgeEvidence(leaked, last, expectation, peer.name),
  ];
  const mendedBy = await mend(faults, fault, last);
  return { fault: fault.name, samples, leaked, untruths, mendedBy };
}

async function mend(faults: FaultLab, fault: Fault, last: Sample): Promise<string> {
  if (outcomeOf(last.after) === "encrypted" && fault.agent === undefined && fault.undo === undefined)
    return "the agent";
  if (fault.undo !== undefined) {
    await fault.undo(faults);
    return "";
  }
  if (outcomeOf(last.after) === "encrypted") return "";
  for (const command of commandsOf(last)) {
    await faults.node.wg(command.split(" ").slice(1));
    if (outcomeOf(await faults.measure()) === "encrypted") return command;
  }
  return "";
}

/** The commands of ours that doctor's remedies name. */
function commandsOf({ reports }: Sample): string[] {
  const named = reports.doctor.findings.flatMap(({ remedy = "" }) =>
    [...remedy.matchAll(/`(wg-cni [a-z ]+)`/g)].map(([, command]) => command as string),
  );
  return [...new Set(named)].filter((command) => !/ (plan|status|doctor|peer list)$/.test(command));
}

/** Brings the lab back to where all is well, which it waits for. */
export async function recover(faults: FaultLab, fault: Fault): Promise<void> {
  const { trio } = faults;
  if (fault.agent === "stopped") trio.agents[0].thaw();
  for (const [index, node] of trio.nodes.entries())
    if (trio.agents[index]?.hasEnded === true) trio.agents[index] = await startAgent(node);
  let seen: unknown;
  const isWell = async () => {
    const truth = await faults.measure();
    const { exitCode } = await faults.node.wg(["status"]);
    seen = { truth, exitCode };
    return exitCode === 0 && outcomeOf(truth) === "encrypted" && truth.delivered === truth.sent;
  };
  await waitUntil(isWell, {
    what: () => `all is well after "${fault.name}": ${JSON.stringify(seen)}`,
    timeoutMs: recoveryMs,
    everyMs: 500,
  });
}
