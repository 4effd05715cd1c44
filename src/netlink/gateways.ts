// The next hops of routes, one by one: a route may have several.
import type { Family } from "../net/ip.ts";
import type { Route } from "../net/objects.ts";
import { nexthops } from "../wire/route.ts";
import type { Rtnl } from "./rtnl.ts";

/** One of the next hops of a route, and the network that the route leads to. */
export type Gateway = Required<Pick<Route, "dst" | "dev" | "via">>;

/** Reads all next hops with an address from the table's unicast routes. Throws NetlinkError, SysError, DecodeError. */
export function readGateways(rtnl: Rtnl, family: Family, table: number): Gateway[] {
  const replies = rtnl.routeReplies({ family, table, type: "unicast" });
  const names = new Map<number, string>();
  if (replies.some(({ reply }) => reply.RTA_MULTIPATH !== undefined))
    for (const { index, name } of rtnl.links()) names.set(index, name);
  return replies.flatMap(({ route: { dst, dev, via }, reply: { RTA_MULTIPATH: hops } }) => {
    if (dev !== undefined) return via === undefined ? [] : [{ dst, dev, via }];
    return (hops === undefined ? [] : nexthops(hops)).flatMap(({ interfaceIndex, gateway }) => {
      const name = names.get(interfaceIndex);
      return name === undefined || gateway === undefined ? [] : [{ dst, dev: name, via: gateway }];
    });
  });
}
