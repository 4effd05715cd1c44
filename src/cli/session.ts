// What commands share: a session on the node's state, and what a sync did, for
// people and as JSON.
import { renderStep } from "../plan/step.ts";
import type { Failure } from "../reconcile/apply.ts";
import { Session } from "../reconcile/session.ts";
import type { MeshPlan, SyncReport } from "../reconcile/sync.ts";
import type { Context, Output } from "./command.ts";
import { countOf, type Style } from "./style.ts";

export function openSession({ stateDir }: Context): Session {
  return new Session(stateDir, Date.now);
}

/** What a sync did, below a first line of the command's own. */
export function reportSync(report: SyncReport, headline: string): Output {
  const failed = report.failures.map(({ step, error }) => ({ step: renderStep(step), error: error.message }));
  return {
    json: {
      node: report.node.name,
      steps: report.steps.flatMap(renderStep),
      writes: report.writes,
      failures: failed,
      refusals: report.ownership.refusals,
      mtu: report.mtu,
    },
    text: (style) => `${headline}\n${describeSync(report, style)}`,
    exitCode: failed.length === 0 ? 0 : 1,
  };
}

function describeSync(report: SyncReport, style: Style): string {
  const lines = [
    report.writes === 0
      ? `${style.green("✓")} the kernel was as it should be, nothing written`
      : `${report.failures.length === 0 ? style.green("✓") : style.yellow("!")} ${countOf(report.writes, "change")} made to the kernel`,
    ...report.failures.map((failure) => `${style.red("✗")} ${describeFailure(failure)}`),
    ...report.ownership.refusals.map(({ reason }) => `${style.yellow("!")} refused: ${reason}`),
  ];
  return `${lines.map((line) => `  ${line}`).join("\n")}\n`;
}

function describeFailure({ step, error }: Failure): string {
  const command = renderStep(step)[0] ?? step.do;
  return error.message.startsWith("Cannot") ? error.message : `${command}: ${error.message}`;
}

/** The steps of a plan as lines a person could type. */
export function renderPlan(plan: MeshPlan): string[] {
  return plan.steps.flatMap(renderStep);
}
