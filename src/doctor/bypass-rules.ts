// A bypass rule is a routing rule of another program that comes before ours and leads
// packets to pods of other nodes, past the tunnel. Amazon's rules for pods on branch
// interfaces are an example. Pure, except for the function that reads a routing table.
import type { Family } from "../net/ip.ts";
import type { Route, Rule } from "../net/objects.ts";
import { prefixesOverlap } from "../net/prefix.ts";
import type { Settings } from "../plan/settings/settings.ts";

export interface BypassRule {
  readonly rule: Rule;
  /** The route is in the rule's table. */
  readonly route: Route;
}

export interface BypassRuleContext {
  /** All rules of the host. */
  readonly rules: readonly Rule[];
  /** The prefixes of other nodes' pods. */
  readonly remoteCIDRs: readonly string[];
  readonly routesOf: (filter: { readonly family: Family; readonly table: number }) => readonly Route[];
}

/** RT_TABLE_LOCAL (linux/rtnetlink.h): a node's own addresses. */
const localTable = 255;

export function findBypassRules(
  settings: Settings,
  { rules, remoteCIDRs, routesOf }: BypassRuleContext,
): BypassRule[] {
  return rules.flatMap((rule) => {
    const { table, family } = rule;
    if (table === undefined || !comesFirst(settings, rule) || !mayCatchPods(rule)) return [];
    const caught = remoteCIDRs.filter((cidr) => rule.invert || prefixesOverlap(rule.dst ?? cidr, cidr));
    // Packets without a unicast route in the table go on to the next rule, or nowhere.
    const route = routesOf({ family, table }).find(
      ({ type, dst }) => type === "unicast" && caught.some((cidr) => prefixesOverlap(dst, cidr)),
    );
    return route === undefined ? [] : [{ rule, route }];
  });
}

function comesFirst({ rulePriority, routeProtocol }: Settings, { priority, table, protocol }: Rule): boolean {
  return priority < rulePriority && protocol !== routeProtocol && table !== localTable;
}

/** A pod's packet comes in by an interface and has no mark; a program that marks it has its own use for that. */
function mayCatchPods({ iif, oif, fwmark, invert, hasOtherSelectors }: Rule): boolean {
  if (hasOtherSelectors) return false;
  return invert || (oif === undefined && fwmark === undefined && iif !== "lo");
}
