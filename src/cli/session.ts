// Commands share these functions: they open a session on the node's state, and report a sync for
// people and as JSON.
import { isLocked } from "../linux/lock.ts";
import { countOf } from "../net/human-format.ts";
import { renderStep } from "../plan/step.ts";
import type { Failure } from "../reconcile/apply.ts";
import type { MeshPlan, SyncReport } from "../reconcile/mesh-plan.ts";
import type { PodReport } from "../reconcile/pods.ts";
import { Session, type SyncHow } from "../reconcile/session.ts";
import { areAllFaulty } from "../reconcile/slots.ts";
import type { SlotFault } from "../state/model.ts";
import type { Context, Output } from "./command.ts";
import { oneLine, type Style } from "./style.ts";

export function openSession({ stateDir }: Context): Session {
  return new Session(stateDir, Date.now);
}

/** The agent holds its lock for as long as it runs. */
export function isAgentThere(stateDir: string): boolean {
  return isLocked(`${stateDir}/agent.lock`);
}

/** The result of a sync of the mesh and of its pods. */
export interface FullReport extends SyncReport {
  readonly pods?: Omit<PodReport, "rest">;
}

/** Makes the mesh and its live pods as the store says. */
export function syncAll(session: Session, how: SyncHow = { reexamine: true }): FullReport {
  const report = session.sync(how);
  const pods = report.up ? session.syncPods(report.mtu.bytes) : undefined;
  // This comes after the MTU, because a change of the MTU may start IPv6 on a link again.
  const links = session.syncPodLinks();
  return {
    ...report,
    pods: {
      pods: pods?.pods ?? 0,
      steps: [...(pods?.steps ?? []), ...links.steps],
      writes: (pods?.writes ?? 0) + links.writes,
      failures: [...(pods?.failures ?? []), ...links.failures],
    },
  };
}

/** Reports a sync below a first line of the command's own. `own`: the command's own warnings. */
export function reportSync(report: FullReport, headline: string, own: readonly string[] = []): Output {
  const warnings = [...own, ...report.missingCapabilities];
  const { pods } = report;
  const said = [...warnings, ...slotWarnings(report), ...report.conflicts.map(({ text }) => text)];
  const failed = [
    ...report.failures.map(({ step, error }) => ({ step: renderStep(step), error: error.message })),
    ...slotFailures(report).map((error) => ({ step: [], error })),
    ...(pods?.failures ?? []).map((error) => ({ step: [], error })),
  ];
  return {
    json: {
      node: report.node.name,
      steps: [...report.steps, ...(pods?.steps ?? [])].flatMap(renderStep),
      writes: report.writes + (pods?.writes ?? 0),
      failures: failed,
      refusedClaims: report.ownership.refusals,
      mtu: report.mtu,
      warnings: said,
    },
    text: (style) => `${headline}\n${describeSync(report, said, style)}`,
    exitCode: failed.length === 0 ? 0 : 1,
  };
}

/** Returns the slots that could not be made, if the other one works; if none works, they are among the failures. */
function slotFailures(report: FullReport): string[] {
  return faultsOfOne(report, "failure");
}

/** A slot that another program occupies is a warning and not a failure. */
function slotWarnings(report: FullReport): string[] {
  return faultsOfOne(report, "conflict");
}

function faultsOfOne({ up, faults }: FullReport, kind: SlotFault["kind"]): string[] {
  if (!up || areAllFaulty(faults)) return [];
  return [...faults.values()].flatMap((fault) => (fault.kind === kind ? [fault.reason] : []));
}

function describeSync(report: FullReport, warnings: readonly string[], style: Style): string {
  const writes = report.writes + (report.pods?.writes ?? 0);
  const failures = [
    ...report.failures.map(describeFailure),
    ...slotFailures(report),
    ...(report.pods?.failures ?? []),
  ];
  const lines = [
    writes === 0
      ? `${style.green("✓")} the kernel was as it should be, nothing written`
      : `${failures.length === 0 ? style.green("✓") : style.yellow("!")} ${countOf(writes, "change")} made to the kernel`,
    ...failures.map((failure) => `${style.red("✗")} ${failure}`),
    ...report.ownership.refusals.map(({ reason }) => `${style.yellow("!")} claim refused: ${reason}`),
    ...warnings.map((warning) => `${style.yellow("!")} ${warning}`),
  ];
  return `${lines.map((line) => `  ${oneLine(line)}`).join("\n")}\n`;
}

function describeFailure({ step, error }: Failure): string {
  const command = renderStep(step)[0] ?? step.do;
  return error.message.startsWith("Cannot") ? error.message : `${command}: ${error.message}`;
}

/** Renders the steps of a plan as lines that a person could type. */
export function renderPlan(plan: MeshPlan): string[] {
  return plan.steps.flatMap(renderStep);
}
