// The syncing stage of a reconcile pass: the kernel is brought to what the store says, and every part of
// the agent that depends on the result learns it.
import type { MeshState, SyncReport } from "../reconcile/mesh-plan.ts";
import { findObstacle } from "../reconcile/outcome.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { describeSync } from "../telemetry/facts.ts";
import { reportRefusals } from "./claim-log.ts";
import type { PassContext } from "./pass-context.ts";
import { firstCommand, isAboutPods, reportLimits, reportRefusedCIDRs } from "./sync-log.ts";
import { mayAffectUnderlay, type Triggers } from "./triggers.ts";

/**
 * Returns why the mesh is not programmed, undefined if it is. `changed`: the store was changed in this
 * pass. Throws what the kernel or the store throws, and NotUpError.
 */
export function syncMesh(pass: PassContext, triggers: Triggers, changed: boolean): string | undefined {
  const { session, parts, memory, options } = pass;
  const startMs = performance.now();
  const before = memory.state;
  const isOutward = mayAffectUnderlay(triggers);
  if (isOutward) {
    session.peerRoutes.forget();
    session.arrivalRoutes.forget();
  }
  const report = sync(pass, startMs, isOutward);
  parts.slots.report(report);
  parts.writes.observe(report);
  memory.state = stateOf(report);
  options.underlay.learn(report);
  parts.drift.learn(report);
  reportRefusedCIDRs(parts.problems, report);
  if (report.up) reportRefusals(parts.problems, report.ownership.refusals);
  const isPods = isAboutPods(report);
  const wasDecided = changed || isPods || before?.generation !== report.generation;
  const ms = performance.now() - startMs;
  options.metrics.synced(describeSync(report, ms, wasDecided));
  memory.lastRepair = logSync(pass, report, { reason: [...triggers].join(", "), ms, isPods, wasDecided });
  // A resync lists all pods too: an ADD may have read the MTU just before the devices changed.
  const isLater = before?.mtu.bytes === report.mtu.bytes && !triggers.has("resync");
  if (!report.up) memory.waitingPods = [];
  else if (!isLater) memory.waitingPods = session.store.attachments();
  reportLimits(parts.problems, report);
  return findObstacle(report);
}

function sync({ session, parts, options }: PassContext, startMs: number, reexamine: boolean): SyncReport {
  try {
    return session.sync({
      relieve: () => parts.heap.trim(),
      reexamine,
      retriesSlots: parts.slots.mayRetry(startMs),
      mayReplaceKeys: true,
    });
  } catch (error) {
    if (!(error instanceof NotUpError)) options.metrics.syncBroke(performance.now() - startMs);
    throw error;
  }
}

interface SyncOccasion {
  readonly reason: string;
  readonly ms: number;
  readonly isPods: boolean;
  /** The store had changed, or the agent had decided something. */
  readonly wasDecided: boolean;
}

/** Returns a clause about what another process had changed; undefined if none had. */
function logSync(
  { parts, options: { log } }: PassContext,
  report: SyncReport,
  { reason, ms, isPods, wasDecided }: SyncOccasion,
): string | undefined {
  const { writes } = report;
  log.debug("reconciled", { reason, writes, ms: Math.round(ms) });
  const first = firstCommand(report);
  // A change that the kernel refused is none; the failure has a line of its own.
  if (first === undefined || writes <= report.failures.length) return undefined;
  const change = { reason, writes, first };
  if (isPods) log.debug("mesh changed", change);
  else if (wasDecided) parts.repairs.changed(change);
  else parts.repairs.restored(change, parts.clock.read().nowMs);
  return wasDecided ? undefined : `another process had changed the mesh, restored: ${first}`;
}

/** Drops thousands of desired and observed peers and routes, which the next pass does not need. */
function stateOf({ desired: _d, observed: _o, steps: _s, ...state }: SyncReport): MeshState {
  return state;
}
