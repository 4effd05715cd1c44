// Implements ADD and CHECK for a pod that wg-cni is the main plugin of. ADD records everything in the
// store before it changes the kernel. A failure takes all of it back, and a crash leaves names and
// leases that DEL finds.

import { closeFd } from "../../linux/file.ts";
import { openNetns } from "../../linux/netns.ts";
import { familyOf } from "../../net/ip.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { Rtnl } from "../../netlink/rtnl.ts";
import { ipv6MinimumMtu } from "../../plan/mesh/mtu.ts";
import {
  hostNeighbours,
  hostRoutes,
  hostSideSteps,
  linkSteps,
  type PodNames,
  podGateway,
  podNames,
  podNeighbours,
  podRoutes,
  podSideSteps,
  type StandalonePod,
  throwSteps,
} from "../../plan/pods/pod.ts";
import { applyAll, applySteps } from "../../reconcile/apply.ts";
import { CniError } from "../error.ts";
import { type Host, ownerOf } from "../host.ts";
import { ensurePodFirewall } from "../pod-firewall.ts";
import type { Request } from "../request.ts";
import { formatResult, podIps, type Result } from "../result.ts";
import { type Addresses, takeAddresses, undoAddresses } from "./addresses.ts";
import { enableForwarding } from "./forwarding.ts";
import { enableIpv6 } from "./ipv6.ts";
import { missingAddresses, missingNeighbours, missingRoutes, missingThrows } from "./missing.ts";
import { judgeAddresses } from "./outside.ts";
import { checkedIps, enterPod, podMtu, routedIps } from "./pod.ts";
import { endPod } from "./remove.ts";

/** Runs ADD: returns the result's JSON. */
export function addStandalone(host: Host, request: Request): string {
  const names = podNames(request);
  refuseExisting(host, request, names.hostDev);
  const addresses = takeAddresses(host, request, names.hostDev);
  try {
    const pod = describePod(host, request, names, addresses);
    makePod(host, request, pod);
    return formatResult(podResult(request, pod), request.conf.cniVersion);
  } catch (error) {
    undo(host, request);
    throw error;
  }
}

/**
 * Refuses a second ADD of the same container before it changes anything, because undoing it would
 * remove the objects of the first one.
 */
function refuseExisting(host: Host, request: Request, hostDev: string): void {
  if (enterPod(host, request).hasLink(request.ifname)) throw alreadyThere(request, request.ifname);
  if (host.kernel.host.hasLink(hostDev)) throw alreadyThere(request, hostDev);
}

function describePod(host: Host, request: Request, names: PodNames, addresses: Addresses): StandalonePod {
  const mtu = podMtu(host, request);
  refuseSmallMtu(mtu, addresses.ips);
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

/** Refuses an MTU without IPv6 before the kernel does, because the kernel's error speaks of address families. */
function refuseSmallMtu(mtu: number | undefined, ips: readonly string[]): void {
  const ip6 = ips.find((ip) => familyOf(ip) === 6);
  if (mtu === undefined || mtu >= ipv6MinimumMtu || ip6 === undefined) return;
  throw new CniError(
    "invalidConfig",
    `mtu: ${mtu} is too small for ${ip6}: IPv6 needs at least ${ipv6MinimumMtu}`,
  );
}

function makePod(host: Host, request: Request, pod: StandalonePod): void {
  const { kernel, settings, store } = host;
  ensurePodFirewall(host, request);
  makeLink(host, request, pod);
  enableIpv6(kernel, host.locateNetns(request.netns), pod.ifname, pod.ips);
  enableForwarding(kernel, store, pod.ips.map(familyOf));
  try {
    const throws = throwSteps(settings, routedIps(host, keepOwn(host, request, pod.ips)));
    applyAll([...podSideSteps(pod), ...hostSideSteps(pod), ...throws], kernel);
  } catch (error) {
    throw (error as { readonly code?: string }).code === "EEXIST" ? alreadyRouted(request, error) : error;
  }
  // Until the kernel's link watch has run for it, an end of the link drops the packets that it should send. Asking for a
  // link runs it (rtnl_getlink, linkwatch_sync_dev; from Linux 6.7 on), so both ends are asked for.
  kernel.host.findLink(pod.hostDev);
  kernel.pod.findLink(pod.ifname);
}

/** Returns the given addresses that do not belong to another node. Another IPAM plugin or a range of the configuration gave them. */
function keepOwn(host: Host, request: Request, given: readonly string[]): readonly string[] {
  const { ips, outside } = judgeAddresses(host, request, given);
  const attachment = outside === undefined ? undefined : host.store.findAttachment(ownerOf(request));
  if (attachment !== undefined && outside !== undefined)
    host.store.putAttachment({
      ...{ ...attachment, ips },
      restore: { ...(attachment.restore as object), outside },
    });
  return ips;
}

function makeLink(host: Host, request: Request, pod: StandalonePod): void {
  const netnsFd = openNetns(host.locateNetns(request.netns));
  try {
    for (const { step, error } of applySteps(linkSteps(pod, netnsFd), host.kernel)) {
      const { code } = error as { readonly code?: string };
      // The nftables table of pods drops what these settings would ignore, so the pod may start.
      if (step.do === "writeSysctl" && code === "EROFS") {
        request.warn(`cannot harden the node's end of the pod's link: ${error.message}`);
        continue;
      }
      if (code === "EEXIST") throw alreadyThere(request, request.ifname, error);
      // The link is there: all that failed is telling it to make itself no IPv6 address, because it has no
      // IPv6 at all (an MTU below 1280, or a kernel started without).
      if (code !== "EAFNOSUPPORT") throw error;
    }
  } finally {
    closeFd(netnsFd);
  }
}

/** Explains a conflict of routes: all routes of a pod of ours use one gateway, so it can have one interface of ours. */
function alreadyRouted({ ifname, containerID }: Request, cause: unknown): CniError {
  const msg = `Cannot make ${ifname} for container ${containerID}: the pod has one of its routes already, by another interface or because "ipam.routes" has the gateway's. As the main plugin wg-cni makes a pod's only interface; use another plugin for further ones.`;
  return new CniError("exists", msg, { details: (cause as Error).message, cause });
}

function alreadyThere({ ifname, containerID }: Request, dev: string, cause?: unknown): CniError {
  const msg = `Cannot make ${ifname} for container ${containerID}: an interface ${dev} is there already. Call DEL first.`;
  return new CniError("exists", msg, { cause });
}

function undo(host: Host, request: Request): void {
  const { errors } = endPod(host, request, () => host.store.findAttachment(ownerOf(request)));
  for (const { message } of errors) request.warn(`while undoing: ${message}`);
  undoAddresses(request);
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

/** Runs CHECK: returns one sentence for each missing item; the list is empty if nothing is missing. */
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
  const { hostDev, hostMac, podMac } = podNames(request);
  const routes = request.conf.prevResult?.routes ?? [];
  const described = { ifname: request.ifname, hostDev, hostMac, podMac, ips, routes };
  const pod = enterPod(host, request);
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
    faults.push(...missingNeighbours("the node", kernel.host, hostDev, hostNeighbours(seen)));
    faults.push(...missingRoutes("the node", kernel.host, hostDev, hostRoutes(seen)));
  }
  return [...faults, ...missingThrows(kernel.host, settings, checkedIps(host, ips))];
}

function findPodSideFaults(pod: Rtnl, described: StandalonePod): string[] {
  const { ifname, ips } = described;
  return [
    ...missingAddresses(pod, ifname, ips),
    ...missingNeighbours("the pod", pod, ifname, podNeighbours(described)),
    ...missingRoutes("the pod", pod, ifname, podRoutes(described)),
  ];
}
