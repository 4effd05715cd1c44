// The reasons for a reconcile pass. Several can be pending at once; one pass serves them all.
import type { KernelChange } from "../netlink/events.ts";

/**
 * A reason for a reconcile pass.
 *
 * - `start`: the agent has just started.
 * - `resync`: the safety net; everything is read again.
 * - `poll`: only the devices are read, and the pass goes on only if they show something.
 * - `retry`: the last pass had a problem.
 * - `events lost`: the kernel's events came faster than the agent read them.
 * - `underlay`: a kernel event may change the route or the MTU to a peer.
 * - `store`, `records`, `pods`, `control plane`, `network configuration`: that has changed or answered.
 * - `dead-man switch`: the switch has changed the store within this pass.
 * - the remaining ones: a kernel event about an object of that kind that is ours.
 */
export type Trigger =
  | "start"
  | "resync"
  | "poll"
  | "retry"
  | "events lost"
  | "underlay"
  | "store"
  | "records"
  | "pods"
  | "control plane"
  | "network configuration"
  | "dead-man switch"
  | KernelChange["about"];

/** All triggers of one pass. */
export type Triggers = ReadonlySet<Trigger>;

/** These triggers say nothing about the network between the nodes: routes to peers that were looked up before stay valid. */
const local: Triggers = new Set<Trigger>([
  ...(["poll", "store", "records", "link", "route", "firewall"] as const),
  ...(["control plane", "dead-man switch"] as const),
]);

/** True if the pass only polls the devices. */
export function isPollOnly(triggers: Triggers): boolean {
  return triggers.size === 1 && triggers.has("poll");
}

/** True if nothing has changed but what peers have published, or the store. */
export function hasOnlyRecords(triggers: Triggers): boolean {
  return [...triggers].every((trigger) => trigger === "records" || trigger === "store");
}

/** True if what was looked up about the network between the nodes may be out of date. */
export function mayAffectUnderlay(triggers: Triggers): boolean {
  return ![...triggers].every((trigger) => local.has(trigger));
}
