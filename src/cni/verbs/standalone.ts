// Standalone ADD and CHECK: we are the pod's main plugin. Everything that ADD
// will make is in the store before the kernel hears of it; a failure takes all
// of it back, and a crash leaves names and leases that DEL finds.

import { closeFd } from "../../linux/file.ts";
import { openNetns } from "../../linux/netns.ts";
import { familyOf } from "../../net/ip.ts";
import type { Neighbour } from "../../net/objects.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { Rtnl } from "../../netlink/rtnl.ts";
import {
  hostNeighbours,
  hostRoutes,
  hostSideSteps,
  podGateway,
  podNames,
  podNeighbours,
  podRoutes,
  podSideSteps,
  type StandalonePod,
  throwSteps,
  vethStep,
} from "../../plan/pod.ts";
import { type RouteStep, renderRoute } from "../../plan/step.ts";
import { applyAll, applySteps } from "../../reconcile/apply.ts";
import { CniError } from "../error.ts";
import { type Host, ownerOf } from "../host.ts";
import type { Request } from "../request.ts";
import { formatResult, podIps, type Result } from "../result.ts";
import { type Addresses, releaseAddresses, takeAddresses } from "./addresses.ts";
import { findMissingThrows } from "./chained.ts";
import { enableForwarding } from "./forwarding.ts";
import { enterPod, podMtu } from "./pod.ts";
import { removePod } from "./remove.ts";

/** ADD: returns the result's JSON. */
export function addStandalone(host: Host, request: Request): string {
  enterPod(host.kernel, request);
  const names = podNames(podDigest(request));
  const addresses = takeAddresses(host, request, names.hostDev);
  try {
    const pod = describePod(host, request, names, addresses);
    makePod(host, request, pod);
    return formatResult(podResult(request, pod), request.conf.cniVersion);
  } catch (error) {
    undo(host, request, names.hostDev);
    throw error;
  }
}

/** What a DEL without any record would have to look for: names follow from the container alone. */
export function podDigest({ containerID, ifname }: Request): Uint8Array {
  return new Bun.CryptoHasher("sha256").update(`${containerID} ${ifname}`).digest();
}

function describePod(
  host: Host,
  request: Request,
  names: ReturnType<typeof podNames>,
  addresses: Addresses,
): StandalonePod {
  const mtu = podMtu(host, request);
  return {
    ifname: request.ifname,
    hostDev: names.hostDev,
    hostMac: names.hostMac,
    podMac: request.conf.requested.mac ?? names.podMac,
    ips: addresses.ips,
    routes: addresses.routes,
    ...(mtu === undefined ? {} : { mtu }),
  };
}

function makePod({ kernel, settings, store }: Host, request: Request, pod: StandalonePod): void {
  const netnsFd = openNetns(request.netns);
  try {
    try {
      applyAll([vethStep(pod, netnsFd)], kernel);
    } catch (error) {
      throw (error as { code?: string }).code === "EEXIST" ? alreadyThere(request, error) : error;
    }
  } finally {
    closeFd(netnsFd);
  }
  enableForwarding(kernel, store, pod.ips.map(familyOf));
  applyAll([...podSideSteps(pod), ...hostSideSteps(pod), ...throwSteps(settings, pod.ips)], kernel);
}

function alreadyThere({ ifname, containerID }: Request, cause: unknown): CniError {
  const msg = `Cannot make ${ifname} for container ${containerID}: an interface of that name is there already. Call DEL first.`;
  return new CniError("exists", msg, { cause });
}

function undo(host: Host, request: Request, hostDev: string): void {
  const attachment = host.store.findAttachment(ownerOf(request));
  const failures =
    attachment === undefined
      ? applySteps([{ do: "deleteLink", dev: hostDev }], host.kernel)
      : removePod(host, attachment);
  for (const { error } of failures) request.warn(`while undoing: ${error.message}`);
  releaseAddresses(request);
}

function podResult({ ifname, netns, conf }: Request, pod: StandalonePod): Result {
  const mtu = pod.mtu === undefined ? {} : { mtu: pod.mtu };
  return {
    interfaces: [
      { name: pod.hostDev, mac: pod.hostMac, ...mtu },
      { name: ifname, mac: pod.podMac, sandbox: netns, ...mtu },
    ],
    ips: pod.ips.map((ip) => ({ address: hostPrefix(ip), gateway: podGateway[familyOf(ip)], interface: 1 })),
    routes: podRoutes(pod)
      .filter((route) => route.via !== undefined)
      .map((route) => ({ dst: route.dst, gw: podGateway[route.family] })),
    dns: conf.dns ?? {},
  };
}

/** CHECK: says in words what is missing; an empty list is good news. */
export function findStandaloneFaults(host: Host, request: Request): string[] {
  const { store, kernel, settings } = host;
  const attachment = store.findAttachment(ownerOf(request));
  const ips =
    request.conf.prevResult === undefined
      ? (attachment?.ips ?? [])
      : podIps(request.conf.prevResult, request.ifname);
  const faults =
    attachment === undefined
      ? ["the store has no record of this container; ADD was never run or its state was lost"]
      : [];
  const { hostDev, hostMac, podMac } = podNames(podDigest(request));
  const described = { ifname: request.ifname, hostDev, hostMac, podMac, ips, routes: [] };
  const pod = enterPod(kernel, request);
  const podLink = pod.findLink(request.ifname);
  const hostLink = kernel.host.findLink(hostDev);
  if (podLink === undefined) faults.push(`the pod has no interface ${request.ifname}`);
  else {
    if (!podLink.up) faults.push(`${request.ifname} of the pod is down`);
    faults.push(...findPodSideFaults(pod, { ...described, podMac: podLink.mac }));
  }
  if (hostLink === undefined) faults.push(`the node's end of the pod's link, ${hostDev}, is gone`);
  else {
    if (!hostLink.up) faults.push(`the node's end of the pod's link, ${hostDev}, is down`);
    const seen = { ...described, podMac: podLink?.mac ?? podMac };
    faults.push(...missingNeighbours("the node", kernel.host, hostNeighbours(seen)));
    faults.push(...missingRoutes("the node", kernel.host, hostRoutes(seen).map(asStep)));
  }
  return [...faults, ...findMissingThrows(kernel, settings, ips)];
}

function findPodSideFaults(pod: Rtnl, described: StandalonePod): string[] {
  const present = new Set(pod.addresses(described.ifname).map((address) => address.ip));
  const lost = described.ips
    .filter((ip) => !present.has(ip))
    .map((ip) => `${described.ifname} of the pod has lost its address ${ip}`);
  return [
    ...lost,
    ...missingNeighbours("the pod", pod, podNeighbours(described)),
    ...missingRoutes("the pod", pod, podRoutes(described).map(asStep)),
  ];
}

function asStep(route: RouteStep["route"]): RouteStep {
  return { do: "replaceRoute", route };
}

function missingRoutes(where: string, rtnl: Rtnl, steps: readonly RouteStep[]): string[] {
  return steps.flatMap(({ route }) => {
    const there = rtnl.routes({ family: route.family, table: route.table });
    const found = there.some((r) => r.dst === route.dst && r.dev === route.dev && r.via === route.via);
    return found ? [] : [`${where} has lost the route "${renderRoute(route)}"`];
  });
}

function missingNeighbours(where: string, rtnl: Rtnl, wanted: readonly Neighbour[]): string[] {
  return wanted.flatMap((neighbour) => {
    const there = rtnl.neighbours(neighbour.dev).find((n) => n.ip === neighbour.ip);
    if (there?.permanent && there.mac === neighbour.mac) return [];
    return [`${where} has lost the permanent neighbour entry of ${neighbour.ip} on ${neighbour.dev}`];
  });
}
