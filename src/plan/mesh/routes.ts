// Makes the routes of the mesh, one at a time. Pure.
import { familyOf } from "../../net/ip.ts";
import type { Route } from "../../net/objects.ts";
import type { Slot } from "../../net/record.ts";
import { type Settings, slotDevice } from "../settings/settings.ts";

/** Returns the prefixes that pods must not reach unless a peer has announced them. */
export function refusedCIDRs({ mode, clusterCIDRs }: Settings): readonly string[] {
  return mode === "strict" ? clusterCIDRs : [];
}

/** Returns the routes for pods of this node: their addresses are looked up in the main table, even if a wider prefix leads into the tunnel. */
export function localRoutes(settings: Settings, dst: string): Route[] {
  const { podTable, hostTable } = settings;
  const tables = refusedCIDRs(settings).length > 0 ? [podTable, hostTable] : [podTable];
  return tables.map((table) => refusal(settings, table, dst, "throw"));
}

export function tunnelRoute(settings: Settings, table: number, dst: string, slot: Slot, src?: string): Route {
  const scope = familyOf(dst) === 4 ? "link" : "global";
  const route = makeRoute(settings, table, dst, { type: "unicast", dev: slotDevice(settings, slot), scope });
  return src === undefined ? route : { ...route, src };
}

export function refusal(settings: Settings, table: number, dst: string, type: "throw" | "prohibit"): Route {
  return makeRoute(settings, table, dst, { type, scope: "global" });
}

/** The metric of strict mode's refusals. They come after the tunnel's routes, which have 0 (IPv4) and 1024 (IPv6). */
const behindPriority = 0x7fff_ffff;

/** Returns the refusal that applies to what a tunnel's route leads to once that route is gone. */
export function behind(settings: Settings, { table, dst }: Pick<Route, "table" | "dst">): Route {
  return { ...refusal(settings, table, dst, "prohibit"), priority: behindPriority };
}

function makeRoute(
  { routeProtocol: protocol }: Settings,
  table: number,
  dst: string,
  way: Pick<Route, "type" | "dev" | "scope">,
): Route {
  const family = familyOf(dst);
  const route = { family, table, dst, protocol, ...way };
  // The kernel gives an IPv6 route without a metric 1024 (IP6_RT_PRIO_USER).
  return family === 6 ? { ...route, priority: 1024 } : route;
}
