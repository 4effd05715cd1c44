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
import { applySteps, type Failure, isOutdated, readSysctl } from "./apply.ts";
import type { Kernel } from "./kernel.ts";

/** An ADD that is under way makes the rest within this, on a busy node too. */
const addMs = 10_000;

export interface PodLinkReport {
  readonly steps: readonly Step[];
  /** Those that no ADD explains which may be under way: another program has changed something. */
  readonly unexplained: readonly Step[];
  /** The requests that have changed something. */
  readonly writes: number;
  /** A sentence each. */
  readonly failures: readonly string[];
}

/** Throws StoreError, NetlinkError, SysError. `wallMs` is the time by the clock that dates attachments. */
export function syncPodLinks(store: Store, kernel: Kernel, wallMs: number): PodLinkReport {
  const writesBefore = kernel.writes;
  const { steps, unexplained, failures } = store.hasStandalonePods()
    ? keepPodLinks(store, kernel, wallMs)
    : { steps: dropPodFirewall(store, kernel), unexplained: [], failures: [] };
  return { steps, unexplained, writes: kernel.writes - writesBefore, failures };
}

function keepPodLinks(store: Store, kernel: Kernel, wallMs: number) {
  const links = new Map(kernel.host.links().map((link) => [link.name, link]));
  const drifts = store.attachments().flatMap(({ hostDev = "", createdAtMs }) => {
    const link = links.get(hostDev);
    if (link === undefined) return [];
    const isNew = wallMs >= createdAtMs && wallMs - createdAtMs < addMs;
    return [{ isNew, dev: hostDev, steps: linkDrift(link) }];
  });
  const old = drifts.filter(({ isNew }) => !isNew);
  const firewall = firewallDrift(kernel);
  const steps = [...drifts.flatMap((drift) => drift.steps), ...firewall];
  // The first pod's ADD makes the table.
  const unexplained = [...old.flatMap((drift) => drift.steps), ...(old.length === 0 ? [] : firewall)];
  const devOf = new Map(drifts.flatMap(({ dev, steps }) => steps.map((step) => [step, dev] as const)));
  // A pod may have ended since its link was found.
  const isThere = (dev: string | undefined) => dev === undefined || kernel.host.findLink(dev) !== undefined;
  const failures = applyCurrent(steps, kernel).filter(({ step }) => isThere(devOf.get(step)));
  return { steps, unexplained, failures: failures.map(({ error }) => error.message) };
}

/** A plugin process that makes the table in the same moment has done the work. */
const maxPlans = 10;

function applyCurrent(steps: readonly Step[], kernel: Kernel): readonly Failure[] {
  let failures = applySteps(steps, kernel);
  for (let plans = 1; plans < maxPlans && failures.some(isOutdated); plans++)
    failures = [
      ...failures.filter((failure) => !isOutdated(failure)),
      ...applySteps(firewallDrift(kernel), kernel),
    ];
  return failures;
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
 * the table, so that one of the two processes sees the change of the other.
 */
function dropPodFirewall(store: Store, { firewall }: Kernel): Step[] {
  if (firewall?.find(podFirewallName) === undefined) return [];
  return store.transaction(() => {
    if (store.hasStandalonePods()) return [];
    firewall.delete(podFirewallName);
    return [{ do: "deleteFirewall", table: podFirewallName }];
  });
}
