// Makes a fault, reads all reports some seconds later, and has every remedy tried that doctor names.
import { startAgent } from "../../cluster/support/join.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { Fault } from "./fault.ts";
import type { FaultLab } from "./fault-lab.ts";
import { type Expectation, judge, judgeEvidence, judgeLog, outcomeOf, type Sample } from "./judge.ts";
import { type Reports, readReports, warningsOf } from "./reports.ts";

export interface Row {
  readonly fault: string;
  readonly kind: Fault["kind"];
  readonly samples: readonly Sample[];
  readonly leaked: number;
  readonly untruths: readonly string[];
  /** What mended it: "the agent", the commands that doctor named, or "" if it was taken back or nothing had to be. */
  readonly mendedBy: string;
}

/** A poll, and what the machine is late. */
const lateLineMs = 10_000;
const recoveryMs = 120_000;
/** The time that a remedy has. */
const remedyMs = 20_000;

export async function runFault(faults: FaultLab, fault: Fault): Promise<Row> {
  const { agent, node, peer } = faults;
  const { sampleAtS = [1, 5, 60], hasTraffic = true, knownAfterS = 1 } = fault;
  const hasAgent = fault.agent === undefined;
  if (fault.agent === "killed") await agent.kill();
  if (fault.agent === "stopped") agent.freeze();
  if (!hasTraffic) await faults.stopTraffic();
  const from = agent.lines().length;
  const plaintextBefore = await faults.plaintext();
  const madeAtMs = Date.now();
  if (fault.script !== undefined) node.script(fault.script);
  await fault.make?.(faults);
  const startMs = performance.now();
  const expectation = { ...fault, knownAfterS, hasAgent, madeAtMs };
  const measure = () => (hasTraffic ? faults.measure() : faults.watch());
  const samples: Sample[] = [];
  for (const seconds of sampleAtS) {
    await Bun.sleep(Math.max(0, seconds * 1000 - 500 - (performance.now() - startMs)));
    const before = await measure();
    const reports = await readReports(faults, from);
    samples.push({ seconds, before, after: await measure(), reports });
  }
  const leaked = (await faults.plaintext()) - plaintextBefore;
  const last = await withLateLines(samples.at(-1) as Sample, { leaked, expectation, faults, from });
  const { mendedBy, isMended } = await mend(faults, fault, last.reports);
  const untruths = [
    ...samples.flatMap((sample) =>
      judge(sample, expectation).map((code) => `after ${sample.seconds} s: ${code}`),
    ),
    ...judgeEvidence(leaked, last, expectation, peer.name),
    ...judgeLog(last, fault.kind),
    ...(isMended ? [] : ["doctor: no remedy that mends it"]),
  ];
  return { fault: fault.name, kind: fault.kind, samples, leaked, untruths, mendedBy };
}

interface Lateness {
  readonly leaked: number;
  readonly expectation: Expectation;
  readonly faults: FaultLab;
  readonly from: number;
}

/** If a peer has leaked before the fault, the log tells of the next packets a minute later, which may be after the last sample. */
async function withLateLines(
  sample: Sample,
  { leaked, expectation, faults: { agent, peer }, from }: Lateness,
): Promise<Sample> {
  let late = sample;
  const isTold = () => {
    late = { ...sample, reports: { ...sample.reports, warnings: warningsOf(agent, from) } };
    return judgeEvidence(leaked, late, expectation, peer.name).length === 0;
  };
  if (judgeEvidence(leaked, sample, expectation, peer.name).length === 0) return sample;
  await waitUntil(isTold, { what: "the lines about a leak", timeoutMs: lateLineMs }).catch(() => undefined);
  return late;
}

async function mend(
  faults: FaultLab,
  fault: Fault,
  reports: Reports,
): Promise<{ readonly mendedBy: string; readonly isMended: boolean }> {
  if (fault.undo !== undefined) {
    await fault.undo(faults);
    return { mendedBy: "", isMended: true };
  }
  if (await isWell(faults)) return { mendedBy: fault.blames === "nobody" ? "" : "the agent", isMended: true };
  const tried: string[] = [];
  for (const command of commandsOf(reports)) {
    tried.push(command);
    if (await helps(faults, command)) return { mendedBy: tried.join(", "), isMended: true };
  }
  return { mendedBy: "", isMended: false };
}

/** The commands that doctor's remedies name: ours, and those that set sysctls. The check `wireguard` warns on each machine without the kernel's. */
function commandsOf({ doctor }: Reports): string[] {
  const findings = doctor.findings.filter(({ check }) => check !== "wireguard");
  const named = findings.flatMap(({ remedy = "" }) =>
    [...remedy.matchAll(/`((?:wg-cni [a-z ]+|sysctl -w [a-z0-9_.= ]+))`/g)].map(
      ([, command]) => command as string,
    ),
  );
  return [...new Set(named)].filter((command) => !/ (plan|status|doctor|peer list)$/.test(command));
}

async function helps(faults: FaultLab, command: string): Promise<boolean> {
  const { trio, node, program } = faults;
  const [executable, ...args] = command.split(" ");
  if (command === "wg-cni agent") trio.agents[0] = await startAgent(node, { program });
  else if (executable === "sysctl") node.must(["sysctl", ...args]);
  else await faults.wg(args);
  return waitUntil(() => isWell(faults), {
    what: () => `the effect of ${command}`,
    timeoutMs: remedyMs,
    everyMs: 500,
  }).then(
    () => true,
    () => false,
  );
}

/** True if packets are encrypted and delivered, and `status` is content. */
async function isWell(faults: FaultLab): Promise<boolean> {
  const truth = await faults.measure();
  const { exitCode } = await faults.wg(["status"]);
  return exitCode === 0 && outcomeOf(truth) === "encrypted" && truth.delivered === truth.sent;
}

/** Brings the lab back to where all is well, which it waits for. */
export async function recover(faults: FaultLab, { name }: Fault): Promise<void> {
  const { trio, program } = faults;
  faults.startTraffic();
  for (const [index, node] of trio.nodes.entries())
    if (trio.agents[index]?.hasEnded === true) trio.agents[index] = await startAgent(node, { program });
  await waitUntil(() => isWell(faults), {
    what: () => `all being well after "${name}"`,
    timeoutMs: recoveryMs,
    everyMs: 500,
  });
}
