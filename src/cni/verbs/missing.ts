// The functions describe, for both roles, the objects that CHECK misses in the kernel. Each list of
// the kernel is read once for all objects that should be in it, with the narrowest filter that the
// kernel supports: a node's tables have thousands of routes.
import { type Family, familyOf } from "../../net/ip.ts";
import type { Neighbour, Route } from "../../net/objects.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { Rtnl } from "../../netlink/rtnl.ts";
import type { Settings } from "../../plan/settings/settings.ts";
import { renderRoute } from "../../plan/step.ts";

const families: readonly Family[] = [4, 6];

/** Returns a sentence for each address that `dev` does not have. */
export function missingAddresses(pod: Rtnl, dev: string, ips: readonly string[]): string[] {
  const present = new Set(pod.addresses(dev).map(({ ip }) => ip));
  return ips.filter((ip) => !present.has(ip)).map((ip) => `${dev} of the pod has lost its address ${ip}`);
}

/** Returns a sentence for each address whose route out of the tunnel is gone. */
export function missingThrows(host: Rtnl, { podTable: table }: Settings, ips: readonly string[]): string[] {
  return families.flatMap((family) => {
    const wanted = ips.filter((ip) => familyOf(ip) === family);
    if (wanted.length === 0) return [];
    const present = new Set(host.routes({ family, table, type: "throw" }).map(({ dst }) => dst));
    return wanted
      .filter((ip) => !present.has(hostPrefix(ip)))
      .map(
        (ip) =>
          `the route "throw ${ip}" is missing from table ${table}: traffic to the pod from its own node could enter the tunnel`,
      );
  });
}

/** Returns a sentence for each route of one table out of `dev` that is not as it should be. */
export function missingRoutes(place: string, rtnl: Rtnl, dev: string, wanted: readonly Route[]): string[] {
  return families.flatMap((family) => {
    const ofFamily = wanted.filter((route) => route.family === family);
    const table = ofFamily[0]?.table;
    if (table === undefined) return [];
    const present = new Set(rtnl.routes({ family, table, dev }).map(identity));
    return ofFamily
      .filter((route) => !present.has(identity(route)))
      .map((route) => `${place} has lost the route "${renderRoute(route)}"`);
  });
}

/** Returns a sentence for each permanent entry of `dev` that is gone or changed. */
export function missingNeighbours(
  place: string,
  rtnl: Rtnl,
  dev: string,
  wanted: readonly Neighbour[],
): string[] {
  const present = new Map(rtnl.neighbours(dev).map((neighbour) => [neighbour.ip, neighbour]));
  return wanted
    .filter(({ ip, mac }) => !(present.get(ip)?.permanent && present.get(ip)?.mac === mac))
    .map(({ ip }) => `${place} has lost the permanent neighbour entry of ${ip} on ${dev}`);
}

function identity({ dst, via }: Route): string {
  return `${dst} via ${via ?? ""}`;
}
