// Reports what a sync could not do for reasons outside the mesh, and describes a sync for the log.
import { hostPrefix } from "../net/prefix.ts";
import { renderStep, type Step } from "../plan/step.ts";
import { splitStep } from "../plan/step-split.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import type { ProblemLog } from "../telemetry/problem-log.ts";

/** Reports the cluster CIDRs that are ignored. */
export function reportRefusedCIDRs(problems: ProblemLog, { refusedCIDRs }: SyncReport): void {
  const why = refusedCIDRs.map(({ reason }) => reason).join(", ");
  const problem = { message: "cluster CIDR ignored", fields: { why } };
  problems.reportOnChange("cluster CIDRs", why === "" ? undefined : problem);
}

/** Reports what this host lacks, and what keeps single peers from being reached. */
export function reportLimits(
  problems: ProblemLog,
  { missingCapabilities, failures, blocking }: SyncReport,
): void {
  const message = "host lacks a capability, part of the mesh is missing";
  const missing = missingCapabilities.map((why) => [why, { message, fields: { why } }] as const);
  problems.reportAllOnChange("host", new Map(missing));
  // If something else blocks, it is the reason why routes fail.
  if (blocking.length > 0) return;
  const [failure] = failures;
  const problem = failure && {
    message: "cannot program an object of a peer, the other peers work",
    fields: { why: failure.error.message },
  };
  problems.reportOnChange("peers", problem);
}

/** The steps of a sync that the kernel did not refuse. */
export function doneSteps({ steps, failures }: Pick<SyncReport, "steps" | "failures">): Step[] {
  const failed = new Set(failures.map(({ step }) => step));
  return steps.filter((step) => !failed.has(step));
}

/** The part of a sync that undid what another process had done. */
export interface Repair {
  readonly steps: readonly Step[];
  /** The first command, by which a reader of the log recognises the damage. */
  readonly first?: string;
}

/**
 * Returns what a sync has brought back of that which this agent had programmed before. All else follows a
 * decision, or a change of the host. `refused`: the commands that the kernel refused then, so it never had them.
 */
export function repairOf(report: SyncReport, refused: ReadonlySet<string>): Repair {
  if (report.damage.length === 0 || isAboutPods(report)) return { steps: [] };
  const damage = new Set(report.damage.flatMap(commandsOf));
  const restores = (command: string) => damage.has(command) && !refused.has(command);
  const steps = doneSteps(report).filter((step) => commandsOf(step).some(restores));
  const first = steps.flatMap(commandsOf).find(restores);
  return { steps, ...(first === undefined ? {} : { first }) };
}

/** Returns the commands of a sync that the kernel has refused. */
export function refusedCommands({ failures }: Pick<SyncReport, "failures">): Set<string> {
  return new Set(failures.flatMap(({ step }) => commandsOf(step)));
}

/** The changes of a step, one command each. */
function commandsOf(step: Step): string[] {
  return splitStep(step).flatMap(renderStep);
}

/** The first step as a command, by which a reader of the log recognises the sync. */
export function firstCommand([step]: readonly Step[]): string | undefined {
  return step === undefined ? undefined : renderStep(step)[0];
}

/** True if the sync did only what the ADD or DEL of a pod was about to do. Pods come and go all day. */
export function isAboutPods({ steps, settings }: SyncReport): boolean {
  return steps.every((step) => {
    if (!("route" in step)) return false;
    const { table, type, dst } = step.route;
    return table === settings.podTable && type === "throw" && isHost(dst);
  });
}

function isHost(prefix: string): boolean {
  const slash = prefix.indexOf("/");
  return hostPrefix(prefix.slice(0, slash)) === prefix;
}
