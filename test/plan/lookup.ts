// The route lookup of the kernel, as far as a mesh decides it: rules in the order of their priorities, and in
// a table the longest prefix with the lowest metric. What our rules leave to others is "main".
import { familyOf } from "../../src/net/ip.ts";
import type { Route, Rule } from "../../src/net/objects.ts";
import { hostPrefix, prefixContains } from "../../src/net/prefix.ts";
import type { Mesh } from "../../src/plan/mesh/model.ts";

export interface Packet {
  readonly dst: string;
  /** The interface that it came by; "lo" for one that this node itself sends. */
  readonly iif: string;
  readonly mark: number;
}

/** "dev NAME", the type of a route that refuses, or "main". */
export function lookUp({ rules, routes }: Mesh, packet: Packet): string {
  const family = familyOf(packet.dst);
  const ours = rules.filter((rule) => rule.family === family).sort((a, b) => a.priority - b.priority);
  let from = 0;
  for (const { priority, action, table, target, ...selectors } of ours) {
    if (priority < from || !matches(selectors, packet)) continue;
    // The kernel skips a goto without its target.
    if (action === "goto" && ours.some((rule) => rule.priority === target)) from = target as number;
    if (action !== "lookup") continue;
    const found = findRoute(routes, table as number, packet.dst);
    if (found !== undefined && found.type !== "throw")
      return found.dev === undefined ? found.type : `dev ${found.dev}`;
  }
  return "main";
}

/** The route that a table has for an address. */
export function findRoute(routes: readonly Route[], table: number, ip: string): Route | undefined {
  const length = ({ dst }: Route) => Number(dst.slice(dst.indexOf("/") + 1));
  return routes
    .filter((route) => route.table === table && route.family === familyOf(ip))
    .filter(({ dst }) => prefixContains(dst, hostPrefix(ip)))
    .sort((a, b) => length(b) - length(a) || (a.priority ?? 0) - (b.priority ?? 0))[0];
}

function matches({ iif, fwmark, invert }: Pick<Rule, "iif" | "fwmark" | "invert">, packet: Packet): boolean {
  const isFrom = iif === undefined || iif === packet.iif;
  const isMarked = fwmark === undefined || (packet.mark & fwmark.mask) >>> 0 === fwmark.mark;
  return (isFrom && isMarked) !== invert;
}
