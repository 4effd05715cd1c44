// Reports what a sync could not do for reasons outside the mesh, and describes a sync for the log.
import { hostPrefix } from "../net/prefix.ts";
import { renderStep } from "../plan/step.ts";
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

/** The first step of a sync as a command, by which a reader of the log recognises the sync. */
export function firstCommand({ steps }: SyncReport): string | undefined {
  return steps.flatMap(renderStep)[0];
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
