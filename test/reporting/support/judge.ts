// Judges what was reported by what was measured. Pure. An untruth is a code: the report, and what it
// said against what was so.
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
}

type Outcome = "encrypted" | "plaintext" | "lost";

export function outcomeOf({ sent, delivered, plaintext }: Truth): Outcome {
  if (plaintext > 0) return "plaintext";
  return delivered === 0 && sent > 0 ? "lost" : "encrypted";
}

interface Rule {
  readonly code: string;
  /** True if the reports say what is not so. */
  readonly isUntrue: (outcome: Outcome, reports: Reports, expectation: Expectation) => boolean;
}

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
    isUntrue: (outcome, reports) => outcome !== "plaintext" && peerOf(reports)?.reach === "plaintext",
  },
  {
    code: "status: refused, but delivered",
    isUntrue: (outcome, reports) => outcome !== "lost" && peerOf(reports)?.reach === "refused",
  },
  {
    code: "status: exit code 0, but not well",
    isUntrue: (outcome, { status }) => outcome !== "encrypted" && status.exitCode === 0,
  },
  {
    code: "status: exit code 0 without an agent",
    isUntrue: (_, { status }, { hasAgent }) => !hasAgent && status.exitCode === 0,
  },
  {
    code: "doctor: healthy, but not well",
    isUntrue: (outcome, { doctor }) => outcome !== "encrypted" && doctor.exitCode === 0,
  },
  {
    code: "readyz: ok, but not well",
    isUntrue: (outcome, reports) => outcome !== "encrypted" && isReady(reports),
  },
  {
    code: "metric: not the state of status",
    isUntrue: (_, reports) => {
      const { metric } = reports;
      const peer = peerOf(reports);
      return metric !== undefined && peer !== undefined && metric !== `${peer.state} ${peer.reach}`;
    },
  },
];

/** The same, once conditions had the time to be written. */
const conditionRules: readonly Rule[] = [
  {
    code: "condition NetworkEncrypted: True, but not so",
    isUntrue: (outcome, reports) => outcome !== "encrypted" && says(reports, "NetworkEncrypted"),
  },
  {
    code: "condition Covered: True, but not so",
    isUntrue: (outcome, reports) => outcome !== "encrypted" && says(reports, "Covered"),
  },
];
const conditionsAfterS = 60;

/** The codes of what was said and is not so. */
export function judge({ seconds, before, after, reports }: Sample, expectation: Expectation): string[] {
  if (seconds < expectation.knownAfterS) return [];
  const outcomes = [...new Set([outcomeOf(before), outcomeOf(after)])];
  const applied = seconds >= conditionsAfterS && expectation.hasAgent ? [...rules, ...conditionRules] : rules;
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
  if (leaked === 0) return [];
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
