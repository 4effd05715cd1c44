// Implements ADD and CHECK for a pod of another plugin: wg-cni keeps the pod's addresses out of the
// tunnel on this node, and gives the routes that lead off the node the tunnel's MTU. The result is
// prevResult, unchanged.

import { without } from "../../net/without.ts";
import { readMainRoutes } from "../../netlink/mtu.ts";
import { readOutside } from "../../plan/pods/far-end.ts";
import {
  configuredMtu,
  planRestore,
  planRouteMtus,
  type RouteMtuPlan,
  readPodMtu,
  routesAbove,
} from "../../plan/pods/mtu.ts";
import { throwSteps } from "../../plan/pods/pod.ts";
import { applyAll, applySteps } from "../../reconcile/apply.ts";
import { routeRemovals } from "../../reconcile/removal.ts";
import type { Attachment } from "../../state/model.ts";
import { type Host, ownerOf } from "../host.ts";
import type { Request } from "../request.ts";
import { formatPrevResult, type PrevResult, podIps } from "../result.ts";
import { missingAddresses, missingThrows } from "./missing.ts";
import { judgeChained } from "./outside.ts";
import { checkedIps, enterPod, podMtu, routedIps } from "./pod.ts";

/** Runs ADD: it records the pod first and then changes the kernel, so that a crash leaves nothing unknown. */
export function addChained(host: Host, request: Request): string {
  const { store, kernel, settings } = host;
  const prevResult = request.conf.prevResult as PrevResult;
  const given = podIps(prevResult, request.ifname);
  if (given.length === 0)
    request.warn(
      `the result of the plugin before has no address for ${request.ifname}: nothing to encrypt for it`,
    );
  const { ips, outside } = judgeChained(host, request, given);
  const owner = ownerOf(request);
  const before = store.findAttachment(owner);
  // Packets that do not enter the tunnel have the size of their own route.
  const { steps, changed } = outside?.kind === "bypass" ? noMtu(before) : planMtu(host, request, before);
  if (before !== undefined) forgetAddresses(host, { ...before, ips: without(before.ips, ips) });
  store.putAttachment({
    ...owner,
    netns: request.netns,
    role: "chained",
    ips,
    restore: {
      ...{ ...configuredMtu(request.conf.mtu), routes: changed },
      ...(outside === undefined ? {} : { outside }),
    },
    createdAtMs: before?.createdAtMs ?? Date.now(),
  });
  applyAll([...throwSteps(settings, routedIps(host, ips)), ...steps], kernel);
  return formatPrevResult(prevResult, request.conf.cniVersion);
}

function noMtu(before: Attachment | undefined): RouteMtuPlan {
  return { steps: [], changed: readPodMtu(before?.restore).routes ?? [] };
}

/** Merges the changed routes. A repeated ADD finds routes that it lowered before, and their first MTUs are to be restored. */
function planMtu(host: Host, request: Request, before: Attachment | undefined): RouteMtuPlan {
  const { routes: known = [] } = readPodMtu(before?.restore);
  const mtu = podMtu(host, request);
  const pod = mtu === undefined ? undefined : enterPod(host, request);
  const link = pod?.findLink(request.ifname);
  if (mtu === undefined || pod === undefined || link === undefined) return { steps: [], changed: known };
  return planRouteMtus(readMainRoutes(pod, request.ifname), link, known, mtu);
}

/** A repeated ADD may have other addresses. Once they replace the recorded ones, the routes of the old addresses would be forgotten. */
function forgetAddresses({ store, kernel, settings }: Host, attachment: Attachment): void {
  applyAll(routeRemovals(store, settings, attachment), kernel);
}

/** A pod may have any number of routes; so many are enough to see what is wrong. */
const maxNamed = 4;

/** Runs CHECK: returns one sentence for each missing item; the list is empty if nothing is missing. */
export function findChainedFaults(host: Host, request: Request): string[] {
  const { store, kernel, settings } = host;
  const prevResult = request.conf.prevResult as PrevResult;
  const given = podIps(prevResult, request.ifname);
  const faults: string[] = [];
  const attachment = store.findAttachment(ownerOf(request));
  const outside = readOutside(attachment?.restore);
  const ips = given.filter((ip) => !outside?.ips.includes(ip));
  if (attachment === undefined)
    faults.push("the store has no record of this container; ADD was never run or its state was lost");
  const pod = enterPod(host, request);
  const link = pod.findLink(request.ifname);
  if (link === undefined) faults.push(`the pod has no interface ${request.ifname}`);
  else {
    faults.push(...missingAddresses(pod, request.ifname, given));
    const mtu = podMtu(host, request);
    if (mtu !== undefined && outside?.kind !== "bypass")
      for (const route of routesAbove(readMainRoutes(pod, request.ifname), link, mtu).slice(0, maxNamed))
        faults.push(`the pod's route ${route.dst} has no MTU of ${mtu}: packets would not fit the tunnel`);
  }
  return [...faults, ...missingThrows(kernel.host, settings, checkedIps(host, ips))];
}

/**
 * Restores the MTUs that ADD found; `warn` gets the refusals of the kernel. Throws SysError without a
 * namespace.
 */
export function restoreRoutes(
  host: Host,
  { netns, ifname, restore }: Attachment,
  warn: Request["warn"],
): void {
  const { routes: changed = [] } = readPodMtu(restore);
  if (changed.length === 0) return;
  const pod = host.kernel.enterPod(host.locateNetns(netns));
  for (const { error } of applySteps(planRestore(readMainRoutes(pod, ifname), changed), host.kernel))
    warn(error.message);
}
