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
  const wanted = new RouteIndex();
  for (const route of desired) wanted.put(route);
  const seen = new RouteIndex();
  const doubled = new RouteIndex();
  const surplus: Step[] = [];
  for (const route of observed) {
    if (seen.find(route) === undefined) seen.put(route);
    else {
      doubled.put(route);
      surplus.push({ do: "deleteRoute", route });
    }
  }
  const make: Step[] = [];
  for (const route of wanted.list()) {
    const there = seen.find(route);
    // A deletion may hit either of two routes with one key: the remaining one is replaced by ours.
    const stands = there !== undefined && sameRoute(route, there) && doubled.find(route) === undefined;
    if (!stands || renewed.has(`${route.dev} ${route.src}`)) make.push({ do: "replaceRoute", route });
  }
  const extraneous = seen.list().filter((route) => wanted.find(route) === undefined);
  const teardown = extraneous.map((route): Step => ({ do: "deleteRoute", route }));
  return { setup: [...surplus, ...make], teardown };
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
  // The target of the goto first: a goto without its target is skipped, harmless but not ours.
  const missing = desired
    .filter((rule) => conflicting.has(place(rule)) || !seen.has(text(rule)))
    .sort((a, b) => b.priority - a.priority);
  return {
    setup: [
      ...removed.filter((rule) => taken.has(place(rule))).map(deletion),
      ...missing.map((rule): Step => ({ do: "addRule", rule })),
    ],
    teardown: removed.filter((rule) => !taken.has(place(rule))).map(deletion),
  };
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
