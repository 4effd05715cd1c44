// A bypass rule is a routing rule of another program that comes before ours and leads
// packets to pods of other nodes, past the tunnel. Amazon's rules for pods on branch
// interfaces are an example. Pure, except for the function that reads a routing table.
import type { Family } from "../net/ip.ts";
import type { Route, Rule } from "../net/objects.ts";
import { prefixesOverlap } from "../net/prefix.ts";
import type { Settings } from "../plan/settings/settings.ts";

export interface BypassRule {
  readonly rule: Rule;
  /** In the rule's table. */
  readonly route: Route;
}

export interface BypassRuleContext {
  /** Of the whole host. */
  readonly rules: readonly Rule[];
  /** What other nodes' pods have. */
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
    // What it has no unicast route for goes on to the next rule, or nowhere.
    const route = routesOf({ family, table }).find(
      ({ type, dst }) => type === "unicast" && caught.some((cidr) => prefixesOverlap(dst, cidr)),
    );
    return route === undefined ? [] : [{ rule, route }];
  });
}

function comesFirst({ rulePriority, routeProtocol }: Settings, { priority, table, protocol }: Rule): boolean {
  return priority < rulePriority && protocol !== routeProtocol && table !== localTable;
}

/** A pod's packet comes in by an interface and has no mark; who gives it one has a use for it. */
function mayCatchPods({ iif, oif, fwmark, invert, hasOtherSelectors }: Rule): boolean {
  if (hasOtherSelectors) return false;
  return invert || (oif === undefined && fwmark === undefined && iif !== "lo");
}
