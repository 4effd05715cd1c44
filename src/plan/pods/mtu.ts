// Plans the MTU of a pod's traffic. If wg-cni is the main plugin, both ends of the pod's link have the
// tunnel's MTU. If another plugin made the interface, the routes that lead off the node get it. A network
// configuration with its own MTU decides once, at ADD; every other pod follows the tunnel. Pure.
import { type Family, familyOf } from "../../net/ip.ts";
import type { Link, Route } from "../../net/objects.ts";
import { defaultPrefix } from "../../net/prefix.ts";
import { ipv6MinimumMtu } from "../mesh/mtu.ts";
import type { RouteMtuStep, Step } from "../step.ts";
import { podLinkIpv6Sysctls } from "./link.ts";

const mainTable = 254;
/** A pod has one or two such routes, and some plugins give it dozens; a pod that may change its namespace makes any number. */
const maxRoutes = 64;

/** A route of a chained pod whose MTU was changed, and its value before; null if none was set. */
export type ChangedRoute = {
  readonly family: Family;
  readonly dst: string;
  readonly priority?: number;
  readonly mtuBefore: number | null;
};

/** The part of an attachment's record about its MTU (`restore` in the store). */
export type PodMtuRecord = {
  /** Bytes, if the network configuration sets them: the pod does not follow the tunnel's MTU. */
  readonly configured?: number;
  readonly routes?: readonly ChangedRoute[];
};

/** Reads `restore`; an attachment without it has nothing to restore. */
export function readPodMtu(restore: unknown): PodMtuRecord {
  return typeof restore === "object" && restore !== null ? (restore as PodMtuRecord) : {};
}

/** Returns what ADD records of the configuration's `mtu`. */
export function configuredMtu(mtu: number | undefined): PodMtuRecord {
  return mtu === undefined ? {} : { configured: mtu };
}

export interface RouteMtuPlan {
  readonly steps: readonly RouteMtuStep[];
  /** All routes that the caller records before it applies the steps, including those recorded earlier. */
  readonly changed: readonly ChangedRoute[];
}

/**
 * Gives a chained pod's routes an MTU if they would have a larger one: its
 * own, or that of the interface `link`. Above the interface's, a route's MTU
 * loses packets; a lower one was set for a reason.
 */
export function planRouteMtus(
  routes: readonly Route[],
  link: Pick<Link, "name" | "mtu">,
  known: readonly ChangedRoute[],
  mtu: number,
): RouteMtuPlan {
  const steps: RouteMtuStep[] = [];
  const changed = [...known];
  const records = indexRoutes(known);
  for (const route of chooseRoutes(routes, link.name)) {
    const record = records.get(keyOf(route));
    // A route that is not on record could not be restored.
    if (record === undefined && changed.length >= maxRoutes) continue;
    const before = record === undefined ? route.metrics?.mtu : (record.mtuBefore ?? undefined);
    const wanted = (before ?? link.mtu) > mtu ? mtu : before;
    if (wanted === route.metrics?.mtu) continue;
    steps.push(changeStep(route, wanted));
    if (record === undefined) changed.push(toRecord(route));
  }
  return { steps, changed };
}

/** Returns the routes that let through packets that are too large for the tunnel. */
export function routesAbove(
  routes: readonly Route[],
  link: Pick<Link, "name" | "mtu">,
  mtu: number,
): Route[] {
  return chooseRoutes(routes, link.name).filter((route) => (route.metrics?.mtu ?? link.mtu) > mtu);
}

/** Plans to restore the MTUs that ADD found; a route that is gone needs nothing. */
export function planRestore(routes: readonly Route[], changed: readonly ChangedRoute[]): RouteMtuStep[] {
  const present = indexRoutes(routes);
  return changed.flatMap((record) => {
    const before = record.mtuBefore ?? undefined;
    const route = present.get(keyOf(record));
    return route === undefined || route.metrics?.mtu === before ? [] : [changeStep(route, before)];
  });
}

/** Merges two lists of one pod's routes; the values that were recorded first are to be restored. */
export function mergeChanged(
  first: readonly ChangedRoute[],
  second: readonly ChangedRoute[],
): ChangedRoute[] {
  const known = indexRoutes(first);
  return [...first, ...second.filter((route) => !known.has(keyOf(route)))];
}

/** Plans both ends of a standalone pod's link. Throws RangeError if an address of the pod is impossible with that MTU. */
export function planLinkMtus(ends: { pod: Link; host: Link }, ips: readonly string[], mtu: number): Step[] {
  const ip6 = ips.find((ip) => familyOf(ip) === 6);
  if (ip6 !== undefined && mtu < ipv6MinimumMtu)
    throw new RangeError(`its address ${ip6} needs at least ${ipv6MinimumMtu}; set --mtu higher`);
  const change = { mtu };
  const steps: Step[] = [];
  if (ends.pod.mtu !== mtu) steps.push({ do: "changeLink", dev: ends.pod.name, change, netns: "pod" });
  if (ends.host.mtu !== mtu) steps.push({ do: "changeLink", dev: ends.host.name, change });
  if (ends.host.mtu < ipv6MinimumMtu && mtu >= ipv6MinimumMtu) steps.push(...beginIpv6(ends.host.name));
  return steps;
}

/** Returns the routes that lead off the node. If there are too many, it returns the widest, which carry all packets without a narrower route. */
function chooseRoutes(routes: readonly Route[], dev: string): readonly Route[] {
  const leaving = routes.filter((route) => leavesNode(route, dev));
  if (leaving.length <= maxRoutes) return leaving;
  return leaving.sort((a, b) => lengthOf(a.dst) - lengthOf(b.dst)).slice(0, maxRoutes);
}

function lengthOf(prefix: string): number {
  return Number(prefix.slice(prefix.indexOf("/") + 1));
}

/** Sets a link up for IPv6 again: an interface loses IPv6 below its smallest MTU, and begins it with the host's defaults. */
function beginIpv6(dev: string): Step[] {
  return [{ do: "changeLink", dev, change: { addrGenModeNone: true } }, ...podLinkIpv6Sysctls(dev)];
}

/** A route that has a gateway or is a default route leads off the node. */
function leavesNode(route: Route, dev: string): boolean {
  return (
    route.type === "unicast" &&
    route.table === mainTable &&
    route.dev === dev &&
    (route.via !== undefined || route.dst === defaultPrefix(route.family))
  );
}

function changeStep(route: Route, mtu: number | undefined): RouteMtuStep {
  return { do: "changeRouteMtu", route, ...(mtu === undefined ? {} : { mtu }), netns: "pod" };
}

function toRecord({ family, dst, priority, metrics }: Route): ChangedRoute {
  return { family, dst, ...(priority === undefined ? {} : { priority }), mtuBefore: metrics?.mtu ?? null };
}

type RouteKey = { readonly dst: string; readonly priority?: number | undefined };

/** Returns the key of a route of one interface: its destination and metric; no metric is 0. */
function keyOf({ dst, priority = 0 }: RouteKey): string {
  return `${dst} ${priority}`;
}

/** Returns the first item of each key. */
function indexRoutes<Item extends RouteKey>(routes: readonly Item[]): ReadonlyMap<string, Item> {
  return new Map(routes.toReversed().map((route) => [keyOf(route), route]));
}
