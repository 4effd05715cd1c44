// Compares two lists of routes, rules or addresses, and returns the steps between them. The kernel
// identifies a deletion by a part of a rule or route only, so objects that it might confuse with ours are
// cleared together with them. Pure.
import type { Address, Route, Rule } from "../../net/objects.ts";
import { type PhasedSteps, renderRule, type Step } from "../step.ts";
import { RouteIndex } from "./route-index.ts";

/** `renewed`: addresses ("dev ip") that are removed for a moment; the kernel then drops them from IPv6 routes that have them as source. */
export function diffRoutes(
  desired: readonly Route[],
  observed: readonly Route[],
  renewed: ReadonlySet<string>,
): PhasedSteps {
  const wanted = RouteIndex.of(desired);
  /** The wanted routes that have their place in the kernel taken: true if it is by the same route, alone. */
  const places = new Map<Route, boolean>();
  const extraneous = new RouteIndex();
  const surplus: Step[] = [];
  for (const route of observed) {
    const want = wanted.find(route);
    const isSecond = want === undefined ? extraneous.find(route) !== undefined : places.has(want);
    if (isSecond) surplus.push({ do: "deleteRoute", route });
    else if (want === undefined) extraneous.put(route);
    // A deletion may hit either of two routes with one key, so the remaining one is replaced by ours.
    if (want !== undefined) places.set(want, !isSecond && sameRoute(want, route));
  }
  const isRenewed = ({ dev, src }: Route) => renewed.size > 0 && renewed.has(`${dev} ${src}`);
  const make = wanted.list().filter((route) => places.get(route) !== true || isRenewed(route));
  const teardown = extraneous.list().toSorted((a, b) => a.family - b.family || comparePreference(b, a));
  return {
    setup: [
      ...surplus,
      ...make
        .sort((a, b) => a.family - b.family || comparePreference(a, b))
        .map((route): Step => ({ do: "replaceRoute", route })),
    ],
    teardown: teardown.map((route): Step => ({ do: "deleteRoute", route })),
  };
}

/**
 * Sorts routes as a lookup prefers them: longer prefixes first, then lower metrics. Set up in this order and
 * taken down in the opposite one, a table has for each address the old route or the new one at any moment. If
 * the refusal of a wide network came before the exceptions from it, this node's own pods would be refused in
 * between. Of two prefixes as long, a refusal comes last: the exception may be in another table.
 */
function comparePreference(a: Route, b: Route): number {
  const refuses = ({ type }: Route) => Number(type === "prohibit");
  return lengthOf(b) - lengthOf(a) || (a.priority ?? 0) - (b.priority ?? 0) || refuses(a) - refuses(b);
}

function lengthOf({ dst }: Route): number {
  return Number(dst.slice(dst.indexOf("/") + 1));
}

function sameRoute(a: Route, b: Route): boolean {
  return (
    a.type === b.type &&
    a.dev === b.dev &&
    a.src === b.src &&
    a.via === b.via &&
    a.scope === b.scope &&
    a.protocol === b.protocol &&
    a.metrics?.mtu === b.metrics?.mtu &&
    a.metrics?.advmss === b.metrics?.advmss
  );
}

/**
 * Clears a priority that has a foreign rule, and makes ours anew. The kernel keeps a rule as often as it
 * was added, and deletes the first one that has at least the selectors of the request, which may be our
 * rule if a foreign one has the same priority.
 */
export function diffRules(desired: readonly Rule[], observed: readonly Rule[]): PhasedSteps {
  const text = (rule: Rule) => `${rule.family} ${renderRule(rule)}`;
  const place = (rule: Rule) => `${rule.family} ${rule.priority}`;
  const wanted = new Set(desired.map(text));
  const taken = new Set(desired.map(place));
  const seen = new Set<string>();
  const conflicting = new Set<string>();
  for (const rule of observed) {
    if (!wanted.has(text(rule)) || seen.has(text(rule))) conflicting.add(place(rule));
    seen.add(text(rule));
  }
  const removed = observed.filter((rule) => conflicting.has(place(rule)));
  const deletion = (rule: Rule): Step => ({ do: "deleteRule", rule });
  const missing = desired.filter((rule) => conflicting.has(place(rule)) || !seen.has(text(rule)));
  const surplus = removed.filter((rule) => !taken.has(place(rule)));
  return {
    setup: [
      ...removed.filter((rule) => taken.has(place(rule))).map(deletion),
      ...missing.sort(compareTurn).map((rule): Step => ({ do: "addRule", rule })),
    ],
    teardown: surplus.sort((a, b) => compareTurn(b, a)).map(deletion),
  };
}

/**
 * Sorts rules as they are set up, and in the opposite order taken down: the target of a goto, because a goto
 * without its target is skipped; then by priority, so that packets that skip our tables skip them as long as
 * a rule leads there.
 */
function compareTurn(a: Rule, b: Rule): number {
  const turn = ({ action, priority }: Rule) => (action === "nop" ? -1 : priority);
  return turn(a) - turn(b);
}

/** An address with other properties blocks ours: IPv6 has an address only once on a device. */
export function diffAddresses(
  desired: readonly Address[],
  observed: readonly Address[],
): PhasedSteps & { readonly renewed: ReadonlySet<string> } {
  const place = ({ dev, ip }: Address) => `${dev} ${ip}`;
  const wanted = new Map(desired.map((address) => [place(address), address]));
  const standing = new Set<string>();
  const altered: Address[] = [];
  const extraneous: Address[] = [];
  for (const address of observed) {
    const want = wanted.get(place(address));
    if (want === undefined) extraneous.push(address);
    else if (sameAddress(want, address)) standing.add(place(address));
    else altered.push(address);
  }
  const deletion = (address: Address): Step => ({ do: "deleteAddress", address });
  const missing = desired.filter((address) => !standing.has(place(address)));
  return {
    setup: [...altered.map(deletion), ...missing.map((address): Step => ({ do: "addAddress", address }))],
    teardown: extraneous.map(deletion),
    renewed: new Set(altered.map(place)),
  };
}

function sameAddress(a: Address, b: Address): boolean {
  return a.length === b.length && a.scope === b.scope && a.noPrefixRoute === b.noPrefixRoute;
}
