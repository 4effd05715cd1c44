// The table that checks what pods send (plan/pods/firewall.ts), from a plugin process: it is
// there for nearly every call, so the code that makes it is loaded only where it is absent.
// It comes with the first pod that we are the main plugin of and goes with the last.
import { messageOf } from "../net/error.ts";
import { hasNftTable } from "../netlink/nft/presence.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { CniError } from "./error.ts";
import type { Host } from "./host.ts";
import type { Request } from "./request.ts";

/** Before ADD: loads what makes the table, if it will be made. */
export async function loadPodFirewall(host: Host, { conf }: Request): Promise<void> {
  if (conf.role !== "standalone" || hasNftTable(podFirewallName.name) !== false) return;
  const { makePodFirewall } = await import("../reconcile/pod-firewall.ts");
  host.makePodFirewall = makePodFirewall;
}

/**
 * In ADD, once the pod is on record: whoever takes the table away looks for that. A kernel that
 * lacks what the table is made of leaves the reverse-path filter alone to check sources.
 */
export function ensurePodFirewall({ makePodFirewall }: Host, { warn }: Request): void {
  if (hasNftTable(podFirewallName.name) !== false) return;
  if (makePodFirewall === undefined)
    throw new CniError("tryAgain", "The nftables table of pods went while the pod was being attached.");
  try {
    makePodFirewall();
  } catch (error) {
    const why = messageOf(error);
    warn(`nothing but the reverse-path filter checks the source of what the pod sends: ${why}`);
  }
}

/** After DEL, GC and a failed ADD: takes the table away if no pod of ours is left. */
export async function releasePodFirewall(host: Host, { conf, command, warn }: Request): Promise<void> {
  if (conf.role !== "standalone" && command !== "GC") return;
  try {
    if (host.store.hasStandalonePods() || !hasNftTable(podFirewallName.name)) return;
    const { dropPodFirewall } = await import("../reconcile/pod-firewall.ts");
    dropPodFirewall(host.stateDir);
  } catch (error) {
    // The verb has told of that already.
    if (error instanceof Error && error.name === "StoreError") return;
    const why = messageOf(error);
    warn(`the nftables table of pods stays until the next DEL, GC or sync: ${why}`);
  }
}
