// Logs what a sync could not do for reasons outside the mesh: once when it appears or changes, and not
// while it persists.
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import type { Log } from "../telemetry/log.ts";

export class SyncLog {
  /** What was logged last. */
  #lacks = "";
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
  reportLimits({ lacks, failures, blocking }: SyncReport): void {
    const reasons = lacks.join("; ");
    if (reasons !== this.#lacks) {
      for (const why of lacks) this.log.warn("host lacks a capability, part of the mesh is missing", { why });
      if (lacks.length === 0) this.log.info("resolved: the host lacked a capability");
    }
    this.#lacks = reasons;
    // If something else blocks, it is the reason why routes fail.
    const problem = blocking.length > 0 ? undefined : failures[0]?.error.message;
    if (problem !== undefined && problem !== this.#peerProblem)
      this.log.warn("cannot program an object of a peer, the other peers work", { why: problem });
    this.#peerProblem = problem;
  }
}
