// The interfaces that the main table's default routes leave by: what this node
// reaches the rest of the world through.
import type { Family } from "../net/ip.ts";
import { defaultPrefix } from "../net/prefix.ts";
import { nexthops } from "../wire/route.ts";
import type { Rtnl } from "./rtnl.ts";

const mainTable = 254;
const families: readonly Family[] = [4, 6];

/** Names, best first: IPv4's before IPv6's, each by the routes' metrics. Throws NetlinkError, SysError, DecodeError. */
export function findUplinks(rtnl: Rtnl): string[] {
  const names = new Map(rtnl.links().map(({ index, name }) => [index, name]));
  const devs = families.flatMap((family) =>
    rtnl
      .routeReplies({ family, table: mainTable, type: "unicast" })
      .filter(({ route }) => route.dst === defaultPrefix(family))
      .sort((a, b) => (a.route.priority ?? 0) - (b.route.priority ?? 0))
      .flatMap(({ route: { dev }, reply: { RTA_MULTIPATH: hops } }) => {
        if (dev !== undefined) return [dev];
        return hops === undefined
          ? []
          : nexthops(hops).map(({ interfaceIndex }) => names.get(interfaceIndex));
      }),
  );
  return [...new Set(devs.filter((dev) => dev !== undefined))];
}
