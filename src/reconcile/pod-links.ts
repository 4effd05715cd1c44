// The node's ends of the links that we made for pods, and the table that checks who speaks
// by them, are kept as ADD makes them: another program may have changed a setting, flushed
// nftables, or the pod is older than this version. Writes only if something differs.
import { diffNftTables } from "../net/nftables-diff.ts";
import type { Link } from "../net/objects.ts";
import { podFirewall } from "../plan/pods/firewall.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { podLinkGroup, podLinkSysctls } from "../plan/pods/link.ts";
import type { Step } from "../plan/step.ts";
import type { Store } from "../state/store.ts";
import { applySteps, readSysctl } from "./apply.ts";
import type { Kernel } from "./kernel.ts";

export interface PodLinkReport {
  readonly steps: readonly Step[];
  /** State-changing requests sent to the kernel. */
  readonly writes: number;
  /** A sentence each. */
  readonly failures: readonly string[];
}

/** Throws StoreError, NetlinkError, SysError. */
export function syncPodLinks(store: Store, kernel: Kernel): PodLinkReport {
  const writesBefore = kernel.writes;
  const { steps, failures } = store.hasStandalonePods()
    ? keepPodLinks(store, kernel)
    : { steps: dropPodFirewall(store, kernel), failures: [] };
  return { steps, writes: kernel.writes - writesBefore, failures };
}

function keepPodLinks(store: Store, kernel: Kernel) {
  const links = new Map(kernel.host.links().map((link) => [link.name, link]));
  const ours = store.attachments().flatMap(({ hostDev = "" }) => links.get(hostDev) ?? []);
  const steps = [...ours.flatMap(linkDrift), ...firewallDrift(kernel)];
  return { steps, failures: applySteps(steps, kernel).map(({ error }) => error.message) };
}

function linkDrift({ name, group }: Link): Step[] {
  const settings = podLinkSysctls(name).filter(({ path, value }) => {
    const present = readSysctl(path);
    return present !== undefined && present !== value;
  });
  return group === podLinkGroup
    ? settings
    : [{ do: "changeLink", dev: name, change: { group: podLinkGroup } }, ...settings];
}

function firewallDrift({ firewall }: Kernel): Step[] {
  if (firewall === undefined) return [];
  const base = firewall.find(podFirewallName);
  const commands = diffNftTables(podFirewall, base);
  if (commands.length === 0) return [];
  return [{ do: "applyFirewall", table: podFirewall, commands, ...(base === undefined ? {} : { base }) }];
}

/**
 * Removes the table if no pod of ours is left. An ADD records its pod before it searches
 * the table, so that one of the two sees the other.
 */
function dropPodFirewall(store: Store, { firewall }: Kernel): Step[] {
  if (firewall?.find(podFirewallName) === undefined) return [];
  return store.transaction(() => {
    if (store.hasStandalonePods()) return [];
    firewall.delete(podFirewallName);
    return [{ do: "deleteFirewall", table: podFirewallName }];
  });
}
