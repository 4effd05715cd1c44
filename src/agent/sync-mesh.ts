// The syncing stage of a reconcile pass: the kernel is brought to what the store says, and every part of
// the agent that depends on the result learns it.
import type { MeshState, SyncReport } from "../reconcile/mesh-plan.ts";
import { addNewPodCIDRs } from "../reconcile/new-pod-cidrs.ts";
import { findObstacle } from "../reconcile/outcome.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { describeSync } from "../telemetry/facts.ts";
import { reportRefusals } from "./claim-log.ts";
import type { PassContext } from "./pass-context.ts";
import { hasTable } from "./path-check.ts";
import {
  doneSteps,
  firstCommand,
  isAboutPods,
  type Repair,
  refusedCommands,
  repairOf,
  reportLimits,
  reportRefusedCIDRs,
} from "./sync-log.ts";
import { mayAffectUnderlay, type Triggers } from "./triggers.ts";

/** Returns why the mesh is not programmed, undefined if it is. Throws what the kernel or the store throws, and NotUpError. */
export function syncMesh(pass: PassContext, triggers: Triggers): string | undefined {
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
  const repair = repairOf(report, memory.refusedCommands);
  memory.programmed = { facts: report.facts, mesh: report.desired };
  memory.refusedCommands = refusedCommands(report);
  const ms = performance.now() - startMs;
  const writes = report.writes + pass.addedWrites;
  pass.addedWrites = 0;
  options.metrics.synced({ ...describeSync(report, ms, repair.steps), writes });
  options.log.debug("reconciled", { reason: reasonOf(triggers), writes, ms: Math.round(ms) });
  memory.lastRepair = logSync(pass, report, reasonOf(triggers), repair);
  // A resync lists all pods too: an ADD may have read the MTU just before the devices changed.
  const isLater = before?.mtu.bytes === report.mtu.bytes && !triggers.has("resync");
  if (!report.up) memory.waitingPods = [];
  else if (!isLater) memory.waitingPods = session.store.attachments();
  reportLimits(parts.problems, report);
  return findObstacle(report);
}

/**
 * Programs pod CIDRs that peers have newly announced before the rest of the pass, which takes a while among thousands
 * of peers. Only the mesh of a sync without failures is known well enough for that.
 */
export function addPodCIDRs(pass: PassContext): void {
  const { session, parts, memory } = pass;
  const { state, programmed, refusedCommands } = memory;
  if (state === undefined || programmed === undefined || refusedCommands.size > 0) return;
  const addition = addNewPodCIDRs(session, programmed, state);
  const first = firstCommand(addition?.steps ?? []);
  if (addition === undefined || first === undefined) return;
  memory.programmed = addition.programmed;
  pass.addedWrites = addition.writes;
  parts.repairs.changed({ reason: reasonOf(pass.triggers), writes: addition.writes, first });
}

/**
 * Adds what was counted outside the tunnel to what is known. It is judged by what the last sync has programmed: a
 * decision since then says nothing about the packets until now, and a peer that was removed since is still known.
 */
export function keepPlaintext({ session, parts, memory }: PassContext): void {
  const { state } = memory;
  const { nowMs } = parts.clock.read();
  parts.repairs.settle(nowMs);
  if (state === undefined) return;
  parts.plaintext.keep(session, state, nowMs, (peer) => {
    const { reach, why } = session.readReach(state, hasTable()).get(peer) ?? {};
    return reach === "plaintext" ? why : memory.lastRepair;
  });
  const refused = parts.plaintext.refusedProblems(state);
  parts.problems.reportAllOnChange("refused sources", refused, "wg-cni doctor");
}

function sync(pass: PassContext, startMs: number, reexamine: boolean): SyncReport {
  const { session, parts, options, memory } = pass;
  const { replacedEndpoints } = pass.decision;
  try {
    return session.sync({
      ...(replacedEndpoints === undefined ? {} : { replacedEndpoints }),
      // Before the table is changed, which takes the counters of some elements along.
      ...(memory.state === undefined ? {} : { keepPlaintext: () => keepPlaintext(pass) }),
      ...(pass.decision.reading === undefined ? {} : { reading: pass.decision.reading }),
      relieve: () => parts.heap.trim(),
      reexamine,
      ...(memory.programmed === undefined ? {} : { programmed: memory.programmed.mesh }),
      retriesSlots: parts.slots.mayRetry(startMs),
      mayReplaceKeys: true,
    });
  } catch (error) {
    if (!(error instanceof NotUpError)) options.metrics.syncBroke(performance.now() - startMs);
    throw error;
  }
}

/** Returns a clause about what another process had changed; undefined if none had. */
function logSync(
  { parts, options: { log } }: PassContext,
  report: SyncReport,
  reason: string,
  repair: Repair,
): string | undefined {
  const { writes } = report;
  const first = repair.first ?? firstCommand(doneSteps(report));
  // A change that the kernel refused is none; the failure has a line of its own.
  if (first === undefined || writes === 0) return undefined;
  const change = { reason, writes, first };
  if (isAboutPods(report)) log.debug("mesh changed", change);
  else if (repair.first === undefined) parts.repairs.changed(change);
  else parts.repairs.restored(change, parts.clock.read().nowMs);
  return repair.first && `another process had changed the mesh, restored: ${repair.first}`;
}

/** Drops thousands of observed peers and routes, which the next pass does not need. */
function stateOf(report: SyncReport): MeshState {
  const { podIPs: _i, facts: _f, desired: _p, observed: _o, steps: _s, damage: _d, ...state } = report;
  return state;
}

function reasonOf(triggers: Triggers): string {
  return [...triggers].join(", ");
}
