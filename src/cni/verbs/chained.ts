// Chained ADD and CHECK: another plugin made the pod; we keep its addresses out
// of the tunnel on this node, and give the routes that lead off the node the
// tunnel's MTU. The result is prevResult, unchanged.

import type { Route } from "../../net/objects.ts";
import { hostPrefix } from "../../net/prefix.ts";
import { NetlinkError } from "../../netlink/error.ts";
import { replaceRouteMtu } from "../../netlink/mtu.ts";
import { localRoute } from "../../plan/mesh.ts";
import { type LoweredRoute, routesToLower, throwSteps } from "../../plan/pod.ts";
import type { Step } from "../../plan/step.ts";
import { applyAll } from "../../reconcile/apply.ts";
import type { Kernel } from "../../reconcile/kernel.ts";
import type { Attachment } from "../../state/model.ts";
import { addressesOnlyOf, type Host, ownerOf } from "../host.ts";
import type { Request } from "../request.ts";
import { formatPrevResult, type PrevResult, podIps } from "../result.ts";
import { missingAddresses, missingThrows } from "./missing.ts";
import { enterPod, podMtu } from "./pod.ts";

/** ADD: records the pod first, then changes the kernel, so that a crash leaves nothing unknown. */
export function addChained(host: Host, request: Request): string {
  const { store, kernel, settings } = host;
  const prevResult = request.conf.prevResult as PrevResult;
  const ips = podIps(prevResult, request.ifname);
  if (ips.length === 0)
    request.warn(
      `the result of the plugin before has no address for ${request.ifname}: nothing to encrypt for it`,
    );
  const mtu = podMtu(host, request);
  const lowered = mtu === undefined ? [] : routesAboveMtu(kernel, request, mtu);
  const owner = ownerOf(request);
  const before = store.findAttachment(owner);
  if (before !== undefined) forgetAddresses(host, { ...before, ips: without(before.ips, ips) });
  store.putAttachment({
    ...owner,
    netns: request.netns,
    role: "chained",
    ips,
    restore: mergeRestore(before?.restore, lowered),
    createdAtMs: before?.createdAtMs ?? Date.now(),
  });
  applyAll(throwSteps(settings, ips), kernel);
  if (mtu !== undefined) for (const route of lowered) replaceRouteMtu(kernel.pod, route, mtu);
  return formatPrevResult(prevResult, request.conf.cniVersion);
}

/** A repeated ADD with other addresses: once the record has these, nobody would know of the old ones' routes. */
function forgetAddresses({ store, kernel, settings }: Host, attachment: Attachment): void {
  const steps = addressesOnlyOf(store, attachment).map((ip): Step => {
    return { do: "deleteRoute", route: localRoute(settings, hostPrefix(ip)) };
  });
  applyAll(steps, kernel);
}

function without(ips: readonly string[], kept: readonly string[]): string[] {
  return ips.filter((ip) => !kept.includes(ip));
}

/** CHECK: says in words what is missing; an empty list is good news. */
export function findChainedFaults(host: Host, request: Request): string[] {
  const { store, kernel, settings } = host;
  const prevResult = request.conf.prevResult as PrevResult;
  const ips = podIps(prevResult, request.ifname);
  const faults: string[] = [];
  if (store.findAttachment(ownerOf(request)) === undefined)
    faults.push("the store has no record of this container; ADD was never run or its state was lost");
  const pod = enterPod(kernel, request);
  if (pod.findLink(request.ifname) === undefined) faults.push(`the pod has no interface ${request.ifname}`);
  else {
    faults.push(...missingAddresses(pod, request.ifname, ips));
    const mtu = podMtu(host, request);
    if (mtu !== undefined)
      for (const route of routesAboveMtu(kernel, request, mtu))
        faults.push(`the pod's route ${route.dst} has no MTU of ${mtu}: packets would not fit the tunnel`);
  }
  return [...faults, ...missingThrows(kernel.host, settings, ips)];
}

function routesAboveMtu(kernel: Kernel, request: Request, mtu: number): Route[] {
  const pod = enterPod(kernel, request);
  const dev = request.ifname;
  const routes = ([4, 6] as const).flatMap((family) => pod.routes({ family, table: 254, dev }));
  return routesToLower(routes, request.ifname, mtu);
}

/** A repeated ADD finds routes that it lowered before: what they were first is what must come back. */
function mergeRestore(before: unknown, lowered: readonly Route[]): LoweredRoute[] {
  const kept = Array.isArray(before) ? (before as LoweredRoute[]) : [];
  const added = lowered
    .filter((route) => !kept.some((known) => isSameRoute(known, route)))
    .map(({ family, dst, priority, metrics }) => ({
      family,
      dst,
      ...(priority === undefined ? {} : { priority }),
      mtuBefore: metrics?.mtu ?? null,
    }));
  return [...kept, ...added];
}

/**
 * Puts the MTUs back that ADD found; a route that is gone needs nothing, one
 * that the kernel refuses is told to `warn`. Throws SysError without a namespace.
 */
export function restoreRoutes(
  kernel: Kernel,
  netns: string,
  ifname: string,
  restore: unknown,
  warn: Request["warn"],
): void {
  if (!Array.isArray(restore) || restore.length === 0) return;
  const pod = kernel.enterPod(netns);
  for (const { family, dst, priority, mtuBefore } of restore as LoweredRoute[]) {
    const routes = pod.routes({ family, table: 254, dev: ifname });
    const route = routes.find((candidate) => isSameRoute(candidate, { dst, priority }));
    if (route === undefined) continue;
    try {
      replaceRouteMtu(pod, route, mtuBefore ?? undefined);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      warn(error.message);
    }
  }
}

/** Of one family and interface: destination and metric tell routes apart, and no metric is 0. */
function isSameRoute(a: RouteKey, b: RouteKey): boolean {
  return a.dst === b.dst && (a.priority ?? 0) === (b.priority ?? 0);
}

type RouteKey = { readonly dst: string; readonly priority?: number | undefined };
