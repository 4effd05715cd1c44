// Carries a plan of the mesh out, and does without the slots that prove to be unusable
// on the way: what is left is planned anew, so that a device that cannot be had never
// has a route that leads into it.
import { type Conflict, findConflicts } from "../plan/mesh/conflicts.ts";
import type { Step } from "../plan/step.ts";
import { applySteps, type Failure, isOutdated } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import { continuePlan, type MeshPlan, type SyncContext, type SyncOptions } from "./mesh-plan.ts";
import type { SlotFaults } from "./node-reader.ts";
import { observeHost } from "./observe.ts";
import { areAllFaulty, failuresOf, findBroken, findLockedKeys, removalOf } from "./slots.ts";

export interface Programming {
  /** The plan that was carried out. */
  readonly plan: MeshPlan;
  readonly failures: readonly Failure[];
  readonly conflicts: readonly Conflict[];
}

/** Programs the mesh; without the slots whose device cannot be had, which is tried once. */
export function programMesh(
  plan: (failed: SlotFaults) => MeshPlan,
  { kernel, nodes }: Pick<SyncContext, "kernel" | "nodes">,
  options: SyncOptions,
): Programming {
  const failed = new Map(options.retriesSlots === false ? failuresOf(nodes) : []);
  const first = plan(failed);
  const isFirewall = ({ do: kind }: Step) => kind === "applyFirewall" || kind === "deleteFirewall";
  if (first.steps.some(isFirewall)) options.keepPlaintext?.(first);
  if (!first.up) return { plan: first, failures: applySteps(first.steps, kernel, options), conflicts: [] };
  const conflicts = first.appliedToThisKernel ? [] : findForeign(first, kernel);
  for (const [slot, fault] of findLockedKeys(first.steps, options)) failed.set(slot, fault);
  const planned = failed.size === 0 ? first : plan(failed);
  const { plan: whole, failures } = applyCurrent(planned, () => plan(failed), kernel, options);
  const broken = findBroken(whole.settings, failures);
  const isLost = areAllFaulty(new Map([...whole.faults, ...broken]));
  // A node that is running and loses both is repaired as it is: without them its routes would lead past the tunnel.
  if (broken.size === 0 || (isLost && whole.appliedToThisKernel)) return { plan: whole, failures, conflicts };
  applySteps(removalOf(broken, whole.settings, kernel), kernel, options);
  for (const [slot, fault] of broken) failed.set(slot, fault);
  const rest = applyCurrent(plan(failed), () => plan(failed), kernel, options);
  return { plan: continuePlan(whole, rest.plan), failures: rest.failures, conflicts };
}

/** Other programs that flush nftables as often as this in one sync leave a failure; the next sync tries again. */
const maxPlans = 10;

/** Applies a plan; plans anew, and applies what is left, if our table was changed after the plan was made. */
function applyCurrent(
  first: MeshPlan,
  replan: () => MeshPlan,
  kernel: Kernel,
  options: SyncOptions,
): Pick<Programming, "plan" | "failures"> {
  let plan = first;
  let failures = applySteps(plan.steps, kernel, options);
  for (let plans = 1; plans < maxPlans && failures.some(isOutdated); plans++) {
    const rest = replan();
    failures = applySteps(rest.steps, kernel, options);
    plan = continuePlan(plan, rest);
  }
  return { plan, failures };
}

/** Finds programs that use our objects. After a boot they may have come first: they are reported, and block at most a slot. */
function findForeign({ settings, node, appliedToThisKernel: here }: MeshPlan, kernel: Kernel): Conflict[] {
  const ownKeys = node.slots.map(({ publicKey }) => publicKey);
  const conflicts = findConflicts(settings, observeHost(settings, kernel, { ownKeys, isApplied: here }));
  return conflicts.filter(({ slot }) => slot === undefined);
}
