// Adds pod CIDRs that peers have newly announced to the mesh as it was programmed, before all peers are read and
// compared: until then packets to these pods go in plaintext, or are refused. Nothing is removed or moved, and the
// store is not told: the sync that follows reads the kernel, and does the rest.
import { tryLock } from "../linux/lock.ts";
import { isAddition } from "../plan/mesh/addition.ts";
import type { MeshFacts } from "../plan/mesh/desired.ts";
import { diffMesh } from "../plan/mesh/diff.ts";
import type { Mesh } from "../plan/mesh/model.ts";
import { withNewPodCIDRs } from "../plan/peers/new-pod-cidrs.ts";
import { countedElements } from "../plan/report/plaintext-evidence.ts";
import type { Step } from "../plan/step.ts";
import { applySteps } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import type { MeshState, SyncContext } from "./mesh-plan.ts";
import type { Intent } from "./node-reader.ts";

/** A mesh that was programmed, and what it was made from. */
export interface Programmed {
  readonly facts: MeshFacts;
  readonly mesh: Mesh;
}

export interface Addition {
  readonly programmed: Programmed;
  readonly steps: readonly Step[];
  /** The requests that have changed something. */
  readonly writes: number;
}

/**
 * `state`: that of the sync which has programmed the mesh, without a failure. Returns what was added; undefined if
 * there is nothing to add, or if only a sync can. Throws NetlinkError, SysError, StoreError.
 */
export function addNewPodCIDRs(
  { store, nodes, kernel, desiredMeshes }: SyncContext,
  programmed: Programmed,
  state: MeshState,
): Addition | undefined {
  if (store.generation === state.generation) return undefined;
  const intent = nodes.intent();
  if (!isSameNode(intent, state)) return undefined;
  const { facts, mesh } = programmed;
  const peers = withNewPodCIDRs(
    facts.ownership.peers,
    intent.ownership.peers,
    countedElements(store.plaintext()),
  );
  if (peers === undefined) return undefined;
  const grown = { ...facts, ownership: { ...facts.ownership, peers } };
  const desired = desiredMeshes.make(grown);
  const steps = diffMesh(desired, mesh, { slotOf: new Map(), nowMs: 0, ownIPs: [] });
  if (!steps.every(isAddition)) return undefined;
  // A sync of another process does the same, and more. The lock is taken only
  // now, because a process that finds it taken waits for some milliseconds.
  using lock = tryLock(`${store.directory}/sync.lock`);
  if (lock === undefined || store.generation !== intent.generation) return undefined;
  const before = kernel.writes;
  if (!apply(steps, kernel)) return undefined;
  return { programmed: { facts: grown, mesh: desired }, steps, writes: kernel.writes - before };
}

/** True if nothing but the peers has changed since, and this host takes the whole mesh. */
function isSameNode({ settings, record, up, identity }: Intent, state: MeshState): boolean {
  return (
    up &&
    state.up &&
    identity?.leaving === undefined &&
    Object.keys(state.unsupported).length === 0 &&
    Bun.deepEquals(settings, state.settings) &&
    Bun.deepEquals(record, state.node)
  );
}

/** True if all of it was done. No route leads into the tunnel if the nftables table, which comes first, could not follow. */
function apply(steps: readonly Step[], kernel: Kernel): boolean {
  const isFirewall = ({ do: kind }: Step) => kind === "applyFirewall";
  const firewall = steps.filter(isFirewall);
  const rest = steps.filter((step) => !isFirewall(step));
  return applySteps(firewall, kernel).length === 0 && applySteps(rest, kernel).length === 0;
}
