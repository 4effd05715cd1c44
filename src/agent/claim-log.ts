// Logs the claims of peers that are refused, and those that pass to another peer. The lines name the
// owner, so the cause stands beside the peer that is not reached.
import type { Lapse } from "../plan/peers/lapses.ts";
import type { Refusal } from "../plan/peers/model.ts";
import type { Log } from "../telemetry/log.ts";
import type { Problem, ProblemLog } from "../telemetry/problem-log.ts";

/** `refusals`: all current refusals. */
export function reportRefusals(problems: ProblemLog, refusals: readonly Refusal[]): void {
  const standing = new Map(refusals.map((refusal) => [keyOf(refusal), toProblem(refusal)]));
  problems.reportAllOnChange("claims", standing, "wg-cni peer list");
}

function keyOf({ peer, claim, owner }: Refusal): string {
  return `${peer} ${claim} ${owner}`;
}

function toProblem({ peer, claim, owner, reason, isPending }: Refusal): Problem {
  const fields = { peer, claim, owner, reason };
  if (isPending === true) return { level: "info", message: "claim of a peer does not count yet", fields };
  return { message: "claim of a peer refused", fields };
}

/** Logs the claims that have passed to another peer. */
export function logLapses(log: Log, lapses: readonly Lapse[]): void {
  for (const { owner, claimant, claim } of lapses)
    log.warn("claim passed to another peer, because its owner had no session for 180 s", {
      ...{ claim, from: owner, peer: claimant },
    });
}
