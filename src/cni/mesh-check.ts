// Decides by a few reads whether an ADD has to program the mesh first. If the agent or the last sync
// has done it, the ADD goes on at once.
import { isLocked } from "../linux/lock.ts";
import type { Family } from "../net/ip.ts";
import { familyOf } from "../net/ip.ts";
import { slotDevice } from "../plan/settings/settings.ts";
import { isApplied } from "../reconcile/applied.ts";
import type { Host } from "./host.ts";
import type { Request } from "./request.ts";
import { podIps } from "./result.ts";

/**
 * True if the node is up, and the mesh is not programmed to the present intent, boot and namespace, or a device
 * is missing, or, in strict mode, one of the pod's families.
 */
function isMeshBehind({ intent, applied, kernel, bootId }: Host, families: readonly Family[]): boolean {
  const { generation, settings } = intent;
  const { up = false, slots = [] } = intent.identity ?? {};
  if (!up) return false;
  if (!isApplied(applied, generation, bootId)) return true;
  if (settings.mode === "strict" && applied?.unmet?.some((family) => families.includes(family))) return true;
  // A slot that cannot be used has no device, and the rest works without.
  const usable = slots.filter(({ fault }) => fault === undefined);
  return !kernel.host.hasLinks(usable.map(({ slot }) => slotDevice(settings, slot)));
}

/**
 * True if an ADD has to program the mesh itself. An agent that runs does it for this pod as for those that are there; in
 * permissive mode the pod need not wait for that, because its packets would not enter the tunnel before a handshake.
 * If the agent could not use any slot, the ADD tries, and the pod's administrator hears why.
 */
export function mustProgramMesh(host: Host, families: readonly Family[]): boolean {
  if (!isMeshBehind(host, families)) return false;
  const hasSlot = host.intent.identity?.slots.some(({ fault }) => fault === undefined) ?? false;
  return host.settings.mode === "strict" || !hasSlot || !isLocked(`${host.stateDir}/agent.lock`);
}

/** Returns the families of the addresses that the pod has or will have; both if another IPAM plugin gives them. */
export function podFamilies({ intent }: Host, { conf, ifname }: Request): readonly Family[] {
  const { ipam, prevResult } = conf;
  if (prevResult !== undefined) return podIps(prevResult, ifname).map(familyOf);
  if (ipam?.kind !== "embedded") return [4, 6];
  if (ipam.ranges.length > 0) return ipam.ranges.flatMap((set) => set[0]?.family ?? []);
  return (intent.identity?.podCIDRs ?? []).map(familyOf);
}
