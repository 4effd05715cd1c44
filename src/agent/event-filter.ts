// Whether what the kernel tells may be about what is ours. Pods come and go all
// day, and other plugins keep their own rules, tables and addresses: none of that
// is worth a look. What lies between the nodes is underlay-filter.ts. Pure.
import { familyOf } from "../net/ip.ts";
import { hostPrefix, prefixContains } from "../net/prefix.ts";
import type { KernelChange } from "../netlink/events.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { addressOf } from "../plan/pods/local-pods.ts";
import type { Settings } from "../plan/settings/settings.ts";

/** How many rule priorities are ours, from settings.rulePriority on. */
const ownPriorities = 4;

/** `podCIDRs`: of this node, whose gateways some plugins give to every pod's link. */
export function concernsMesh(event: KernelChange, settings: Settings, podCIDRs: readonly string[]): boolean {
  const { hostTable, podTable, deviceA, deviceB, rulePriority: first, routeProtocol } = settings;
  switch (event.about) {
    case "firewall":
      return event.table === firewallName || event.table === podFirewallName.name;
    case "reversePathFilter":
      return true;
    case "route":
      return event.table === hostTable || event.table === podTable;
    case "link":
      return event.name === deviceA || event.name === deviceB;
    case "rule": {
      const { priority, table, protocol } = event;
      const isOurs = protocol === routeProtocol || table === hostTable || table === podTable;
      return isOurs || (priority >= first && priority < first + ownPriorities);
    }
    case "address":
      return !isLinkLocal(event.ip) && !podCIDRs.some((cidr) => holds(cidr, event.ip));
  }
}

/**
 * Whether it may be about a pod that this node announces by its address: one whose plugin
 * does not call us, or that goes without a DEL. `podLinks`: those that are known; the kernel
 * tells of a link that goes, and not of the IPv4 routes that it takes along.
 */
export function concernsPods(
  event: KernelChange,
  settings: Settings,
  podLinks: ReadonlySet<string>,
): boolean {
  if (settings.podAddresses !== "pods") return false;
  if (event.about === "link") return !event.up && podLinks.has(event.name);
  if (event.about !== "route" || concernsMesh(event, settings, [])) return false;
  const ip = addressOf(event.dst);
  return ip !== undefined && event.table !== localTable && !isLinkLocal(ip);
}

/** RT_TABLE_LOCAL: the node's own addresses. */
const localTable = 255;

/** Every link that comes up brings one. */
function isLinkLocal(ip: string): boolean {
  return /^fe[89ab]/.test(ip);
}

function holds(cidr: string, ip: string): boolean {
  return familyOf(cidr) === familyOf(ip) && prefixContains(cidr, hostPrefix(ip));
}
