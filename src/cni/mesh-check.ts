// Decides by a few reads whether an ADD has to program the mesh first. If the agent or the last sync
// has done it, the ADD goes on at once.
import type { Family } from "../net/ip.ts";
import { familyOf } from "../net/ip.ts";
import type { Slot } from "../net/record.ts";
import { slotDevice } from "../plan/settings/settings.ts";
import { isApplied } from "../reconcile/applied.ts";
import type { Host } from "./host.ts";
import type { Request } from "./request.ts";
import { podIps } from "./result.ts";

/**
 * True if the node is up, and the mesh is not programmed to the present intent, boot and namespace, or a device
 * is missing, or, in strict mode, one of the pod's families.
 */
export function isMeshBehind(
  { store, settings, kernel, bootId }: Host,
  families: readonly Family[],
): boolean {
  const { up = false, slots = [] } = store.identity() ?? {};
  if (!up) return false;
  const applied = store.applied();
  if (!isApplied(applied, store.generation, bootId)) return true;
  if (settings.mode === "strict" && applied?.unmet?.some((family) => families.includes(family))) return true;
  const has = (slot: Slot) => kernel.host.hasLink(slotDevice(settings, slot));
  // A slot that cannot be used has no device, and the rest works without.
  return !slots.every(({ slot, fault }) => fault !== undefined || has(slot));
}

/** Returns the families of the addresses that the pod has or will have; both if another IPAM plugin gives them. */
export function podFamilies({ store }: Host, { conf, ifname }: Request): readonly Family[] {
  const { ipam, prevResult } = conf;
  if (prevResult !== undefined) return podIps(prevResult, ifname).map(familyOf);
  if (ipam?.kind !== "embedded") return [4, 6];
  if (ipam.ranges.length > 0) return ipam.ranges.flatMap((set) => set[0]?.family ?? []);
  return (store.identity()?.podCIDRs ?? []).map(familyOf);
}
