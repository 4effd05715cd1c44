// Finds the pods of this node in the kernel, by the rules of plan/pods/local-pods.ts.
import type { Family } from "../net/ip.ts";
import type { Rule } from "../net/objects.ts";
import { findUplinks } from "../netlink/uplinks.ts";
import { findBridgedPods, findPods, isPairToElsewhere, type SeenPod } from "../plan/pods/local-pods.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Kernel } from "./kernel.ts";

const families: readonly Family[] = [4, 6];
/** RT_TABLE_MAIN, and RT_TABLE_LOCAL, which has the node's own addresses. */
const mainTable = 254;
const localTable = 255;

/** Throws NetlinkError, SysError. */
export function observePods(settings: Settings, { host }: Kernel): SeenPod[] {
  const links = host.links();
  // Most of the work is the routes'.
  if (!links.some(isPairToElsewhere)) return [];
  const routes = families.flatMap((family) =>
    tablesOf(settings, host.rules(family)).flatMap((table) => host.routes({ family, table })),
  );
  return findPods({ links, routes, addresses: host.addresses() });
}

/** `outside`: addresses of other nodes. Throws NetlinkError, SysError. */
export function observeBridgedPods({ host }: Kernel, outside: readonly string[]): SeenPod[] {
  const links = host.links();
  const kinds = new Map(links.map(({ name, kind }) => [name, kind]));
  const bridges = findUplinks(host).filter((dev) => kinds.get(dev) === "bridge");
  if (bridges.length === 0) return [];
  const gateways = families.flatMap((family) =>
    host.routes({ family, table: mainTable }).flatMap(({ via }) => via ?? []),
  );
  const own = new Set(host.addresses().map(({ ip }) => ip));
  const found = findBridgedPods({
    ...{ links, bridges, learned: host.bridgeEntries() },
    neighbours: bridges.flatMap((dev) => host.neighbours(dev)),
    outside: new Set([...outside, ...gateways]),
  });
  return found.filter(({ ip }) => !own.has(ip));
}

/**
 * The main table and those that rules name, without ours and the kernel's own. Some cloud CNIs have a
 * table for each interface, with a gateway of its own and the routes to pods.
 */
export function tablesOf({ hostTable, podTable }: Settings, rules: readonly Rule[]): number[] {
  const left: readonly unknown[] = [hostTable, podTable, localTable, undefined];
  const named = rules.map(({ table }) => table).filter((table) => !left.includes(table));
  return [...new Set([mainTable, ...named])] as number[];
}
