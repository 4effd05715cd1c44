// Judges what was reported by what was measured. Pure. An untruth is a code: the report, and what it
// said against what was so.
import type { Fault } from "./fault.ts";
import type { Truth } from "./fault-lab.ts";
import type { Reports } from "./reports.ts";

/** What was so before and after the reports were read. If the two differ, either may have been reported. */
export interface Sample {
  readonly seconds: number;
  readonly before: Truth;
  readonly after: Truth;
  readonly reports: Reports;
}

export interface Expectation {
  /** From this second on a report must know of the fault; what another node does cannot be known at once. */
  readonly knownAfterS: number;
  /** False if the agent does not run. */
  readonly hasAgent: boolean;
  /** Unix milliseconds of the fault: counting that began later does not say that there was nothing before. */
  readonly madeAtMs: number;
  readonly blames?: Fault["blames"];
  readonly isOffline?: true;
}

export type Outcome = "encrypted" | "plaintext" | "lost" | "nothing sent";

export function outcomeOf({ sent, delivered, plaintext }: Truth): Outcome {
  if (plaintext > 0) return "plaintext";
  if (sent === 0) return "nothing sent";
  return delivered === 0 ? "lost" : "encrypted";
}

interface Rule {
  readonly code: string;
  /** True if the reports say what is not so. */
  readonly isUntrue: (outcome: Outcome, reports: Reports, expectation: Expectation) => boolean;
}

/** A session carries nothing any more after this time; reading the reports takes some. */
const sessionMs = 180_000 + 5_000;

const isBad = (outcome: Outcome) => outcome === "plaintext" || outcome === "lost";
const peerOf = ({ status }: Reports) => status.peer;
const isReady = ({ ready }: Reports) => ready === "ok";
const says = (reports: Reports, condition: string) =>
  reports.conditions[condition]?.startsWith("True") === true;

/** What no report may say. */
const rules: readonly Rule[] = [
  {
    code: "status: tunnel, but in plaintext",
    isUntrue: (outcome, reports) => outcome === "plaintext" && peerOf(reports)?.reach === "tunnel",
  },
  {
    code: "status: encrypted, but lost",
    isUntrue: (outcome, reports) => outcome === "lost" && peerOf(reports)?.state === "encrypted",
  },
  {
    code: "status: in plaintext, but not so",
    isUntrue: (outcome, reports) => outcome === "encrypted" && peerOf(reports)?.reach === "plaintext",
  },
  {
    code: "status: refused, but delivered",
    isUntrue: (outcome, reports) => outcome === "encrypted" && peerOf(reports)?.reach === "refused",
  },
  {
    code: "status: lost, but delivered",
    isUntrue: (outcome, reports) => outcome === "encrypted" && peerOf(reports)?.reach === "lost",
  },
  {
    code: "status: exit code 0, but not well",
    isUntrue: (outcome, { status }) => isBad(outcome) && status.exitCode === 0,
  },
  {
    code: "status: exit code 0 without an agent",
    isUntrue: (_, { status }, { hasAgent }) => !hasAgent && status.exitCode === 0,
  },
  {
    code: "doctor: healthy, but not well",
    isUntrue: (outcome, { doctor }) => isBad(outcome) && doctor.exitCode === 0,
  },
  {
    code: "readyz: ok, but not well",
    isUntrue: (outcome, reports, { blames }) => blames !== "peer" && isBad(outcome) && isReady(reports),
  },
  {
    code: "metric: not the state of status",
    isUntrue: (_, reports) => {
      const { metric, peerAfter } = reports;
      const shown = [peerOf(reports), peerAfter].flatMap((peer) =>
        peer ? [`${peer.state} ${peer.reach}`] : [],
      );
      // While a state changes, either may be read.
      return metric !== undefined && shown.length > 0 && !shown.includes(metric);
    },
  },
];

/** The same, whenever it is said. */
const timelessRules: readonly Rule[] = [
  {
    code: "status: encrypted by a session that is over",
    isUntrue: (_, reports) => {
      const { state, lastHandshakeMs = 0 } = peerOf(reports) ?? {};
      return state === "encrypted" && reports.readAtMs - lastHandshakeMs > sessionMs;
    },
  },
  {
    code: "readyz: not ok for the fault of another node",
    isUntrue: (_, reports, { blames, hasAgent }) => blames === "peer" && hasAgent && !isReady(reports),
  },
  {
    code: "alarm, but all is well",
    isUntrue: (_, reports, { blames, hasAgent }) =>
      blames === "nobody" &&
      (reports.status.exitCode !== 0 || reports.doctor.exitCode !== 0 || (hasAgent && !isReady(reports))),
  },
];

/** The same, once conditions had the time to be written. */
const conditionRules: readonly Rule[] = ["NetworkEncrypted", "Covered"].map((condition) => ({
  code: `condition ${condition}: True, but not so`,
  isUntrue: (outcome, reports) => isBad(outcome) && says(reports, condition),
}));
const conditionsAfterS = 60;

/** The codes of what was said and is not so. */
export function judge({ seconds, before, after, reports }: Sample, expectation: Expectation): string[] {
  const canWrite = expectation.hasAgent && expectation.isOffline !== true;
  const isKnown = seconds >= expectation.knownAfterS;
  const applied = [
    ...timelessRules,
    ...(isKnown ? rules : []),
    ...(isKnown && seconds >= conditionsAfterS && canWrite ? conditionRules : []),
  ];
  const outcomes = [...new Set([outcomeOf(before), outcomeOf(after)])];
  return applied
    .filter(({ isUntrue }) => outcomes.every((outcome) => isUntrue(outcome, reports, expectation)))
    .map(({ code }) => code);
}

/** Codes of what must be found after a leak and is not. `leaked`: packets that were seen in plaintext since the fault. */
export function judgeEvidence(
  leaked: number,
  { reports }: Sample,
  { hasAgent, madeAtMs }: Expectation,
  peer: string,
): string[] {
  // A node that is down promises nothing: its packets should be in plaintext.
  if (leaked === 0 || !reports.status.isUp) return [];
  const { inPackets = 0, outPackets = 0 } = peerOf(reports)?.plaintext ?? {};
  const { countedSinceMs = Number.POSITIVE_INFINITY } = reports.status;
  // While no table is there nothing can count, and both say so.
  const hasGap = countedSinceMs > madeAtMs;
  const isLogged = reports.warnings.some((line) => line["peer"] === peer && "packets" in line);
  const isGapLogged = reports.warnings.some(({ message }) => message.includes("were not counted"));
  const isCounted = inPackets + outPackets > 0;
  return [
    ...(isCounted || hasGap ? [] : ["evidence: status counts no plaintext"]),
    ...(!hasAgent || hasGap || (reports.plaintextMetric ?? 0) > 0
      ? []
      : ["evidence: the metric counts no plaintext"]),
    ...(!hasAgent || isLogged || (hasGap && isGapLogged)
      ? []
      : ["evidence: the log has no warning with peer and count"]),
  ];
}

/** Faults of these kinds change nothing that the agent has programmed. */
const outsideMesh: readonly Fault["kind"][] = ["records", "firewalls", "addresses", "clocks"];
const blamesAnother = /mesh changed by another process|repairs of the mesh do not last/;

/** Codes of warnings that are untrue, or there twice: a second line about one fault seems to be a second fault. */
export function judgeLog({ reports: { warnings } }: Sample, kind: Fault["kind"]): string[] {
  // Two leaks may be of as many packets.
  const told = warnings.filter((line) => !("packets" in line));
  const lines = told.map(({ time: _, ...line }) => JSON.stringify(line));
  const isRepeated = lines.some((line, i) => lines.indexOf(line) !== i);
  const isBlamed = outsideMesh.includes(kind) && warnings.some(({ message }) => blamesAnother.test(message));
  return [
    ...(isRepeated ? ["log: the same warning twice"] : []),
    ...(isBlamed ? ["log: another process is blamed, but none has changed the mesh"] : []),
  ];
}
