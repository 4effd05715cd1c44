// Logs what a sync could not do for reasons outside the mesh: once when it appears or changes, and not
// while it persists.
import { hostPrefix } from "../net/prefix.ts";
import { renderStep } from "../plan/step.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import type { Log } from "../telemetry/log.ts";

export class SyncLog {
  /** The text that was logged last. */
  #missingCapabilities = "";
  #peerProblem: string | undefined;
  #refusedCIDRs = "";

  constructor(private readonly log: Log) {}

  /** Logs the cluster CIDRs that are ignored. */
  reportRefusedCIDRs({ refusedCIDRs }: SyncReport): void {
    const reasons = refusedCIDRs.map(({ reason }) => reason).join(", ");
    if (reasons === this.#refusedCIDRs) return;
    this.#refusedCIDRs = reasons;
    if (reasons === "") this.log.info("resolved: a cluster CIDR was ignored");
    else this.log.warn("cluster CIDR ignored", { why: reasons });
  }

  /** Logs what this host lacks, and what keeps single peers from being reached. */
  reportLimits({ missingCapabilities, failures, blocking }: SyncReport): void {
    const reasons = missingCapabilities.join("; ");
    if (reasons !== this.#missingCapabilities) {
      for (const why of missingCapabilities)
        this.log.warn("host lacks a capability, part of the mesh is missing", { why });
      if (missingCapabilities.length === 0) this.log.info("resolved: the host lacked a capability");
    }
    this.#missingCapabilities = reasons;
    // If something else blocks, it is the reason why routes fail.
    const problem = blocking.length > 0 ? undefined : failures[0]?.error.message;
    if (problem !== undefined && problem !== this.#peerProblem)
      this.log.warn("cannot program an object of a peer, the other peers work", { why: problem });
    this.#peerProblem = problem;
  }
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
