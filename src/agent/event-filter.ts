// Decides whether a kernel event may be about our own objects. Pods come and go all day, and other
// plugins keep their own rules, tables and addresses: those need no reconcile pass. Events about the
// network between the nodes are underlay-filter.ts. Pure.
import { familyOf } from "../net/ip.ts";
import { hostPrefix, prefixContains } from "../net/prefix.ts";
import type { KernelChange } from "../netlink/events.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { podFirewallName } from "../plan/pods/firewall-name.ts";
import { addressOf } from "../plan/pods/local-pods.ts";
import type { Settings } from "../plan/settings/settings.ts";

/** The number of rule priorities that are ours, from settings.rulePriority on. */
const ownPriorities = 4;

export interface NodeFacts {
  /** Those of this node; some plugins give their gateways to every pod's link. */
  readonly podCIDRs: readonly string[];
  /** The indexes of our devices: an address there is ours or has to go, whatever it is. */
  readonly deviceIndexes: ReadonlySet<number>;
}

/** True if the event may be about the mesh. */
export function affectsMesh(
  event: KernelChange,
  settings: Settings,
  { podCIDRs, deviceIndexes }: NodeFacts,
): boolean {
  const { hostTable, podTable, deviceA, deviceB, rulePriority: first, routeProtocol } = settings;
  switch (event.about) {
    case "firewall":
      return event.table === firewallName || event.table === podFirewallName.name;
    case "reversePathFilter":
      return true;
    case "forwarding":
      return event.index === undefined || deviceIndexes.has(event.index);
    case "route":
      return event.table === hostTable || event.table === podTable;
    case "link":
      return event.name === deviceA || event.name === deviceB;
    case "rule": {
      const { priority, table, protocol } = event;
      const isOurs = protocol === routeProtocol || table === hostTable || table === podTable;
      // A rule before ours may lead packets for peers past the tunnel.
      return isOurs || priority < first + ownPriorities;
    }
    case "address":
      if (isLinkLocal(event.ip)) return false;
      return deviceIndexes.has(event.index) || !podCIDRs.some((cidr) => holds(cidr, event.ip));
  }
}

/**
 * True if the event may be about a pod that this node announces by its address: the plugin of such
 * a pod may not call us, or the pod may end without a DEL. `podLinks`: the known links; the kernel
 * reports a link that goes away, but not the IPv4 routes that go with it.
 */
export function affectsPods(event: KernelChange, settings: Settings, podLinks: ReadonlySet<string>): boolean {
  if (settings.podAddresses !== "pods") return false;
  if (event.about === "link") return !event.up && podLinks.has(event.name);
  if (event.about !== "route" || event.table === settings.hostTable || event.table === settings.podTable)
    return false;
  const ip = addressOf(event.dst);
  return ip !== undefined && event.table !== localTable && !isLinkLocal(ip);
}

/** RT_TABLE_LOCAL: the node's own addresses. */
const localTable = 255;

/** Every link that comes up gets a link-local address. */
function isLinkLocal(ip: string): boolean {
  return /^fe[89ab]/.test(ip);
}

function holds(cidr: string, ip: string): boolean {
  return familyOf(cidr) === familyOf(ip) && prefixContains(cidr, hostPrefix(ip));
}
