// Makes and removes, from a plugin process, the table that checks the sources of pods' packets
// (plan/pods/firewall.ts). The table exists at nearly every call, so the code that makes it is loaded
// only if it is absent. The first pod that wg-cni is the main plugin of brings it, and the last one
// removes it.
import { messageOf } from "../net/error.ts";
import { hasNftTable } from "../netlink/nft/presence.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { CniError } from "./error.ts";
import type { Host } from "./host.ts";
import type { Request } from "./request.ts";

/** The code that makes the table, once this process has loaded it. */
let loaded: (() => void) | undefined;

/** Before ADD, loads the code that makes the table, if the table will be made. */
export async function loadPodFirewall(host: Host, { conf }: Request): Promise<void> {
  if (conf.role !== "standalone") return;
  if (loaded === undefined && hasNftTable(podFirewallName.name) === false)
    loaded = (await import("../reconcile/pod-firewall.ts")).makePodFirewall;
  if (loaded !== undefined) host.makePodFirewall = loaded;
}

/**
 * Makes the table in ADD, after the pod is recorded: a process that removes the table looks for the
 * record. If the kernel does not support the table, only the reverse-path filter checks sources.
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

/** Removes the table after DEL, GC and a failed ADD, if no pod of ours is left. */
export async function releasePodFirewall(host: Host, { conf, command, warn }: Request): Promise<void> {
  if (conf.role !== "standalone" && command !== "GC") return;
  try {
    if (host.store.hasStandalonePods() || !hasNftTable(podFirewallName.name)) return;
    const { dropPodFirewall } = await import("../reconcile/pod-firewall.ts");
    dropPodFirewall(host.stateDir);
  } catch (error) {
    // The verb has reported that already.
    if (error instanceof Error && error.name === "StoreError") return;
    const why = messageOf(error);
    warn(`the nftables table of pods stays until the next DEL, GC or sync: ${why}`);
  }
}
