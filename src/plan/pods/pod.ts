// Plans the steps that ADD applies for one pod in either role. As the main plugin wg-cni makes everything; if
// another plugin made the pod, wg-cni adds what encryption needs. Pure.
//
//   pod netns                        node netns
//   eth0  10.1.0.5/32, fd00::5/128 == wgc3f2a91b04d5e
//         default via 169.254.1.1    10.1.0.5 dev wgc3f2a91b04d5e scope link
//         default via fe80::1        throw 10.1.0.5 table 18099
//
// No interface has the gateway's addresses: permanent neighbour entries on both sides have the other end's
// MAC, so neither ARP nor proxy_arp is needed.
import { type Family, familyOf } from "../../net/ip.ts";
import type { Address, Neighbour, Route } from "../../net/objects.ts";
import { defaultPrefix, hostPrefix } from "../../net/prefix.ts";
import { localRoutes } from "../mesh/routes.ts";
import type { Settings } from "../settings/settings.ts";
import type { RouteStep, RtnlStep, Step } from "../step.ts";
import { podLinkGroup, podLinkIpv4, podLinkIpv6Sysctls } from "./link.ts";

const mainTable = 254;

/** The pod's next hop; link-local, so it can never be the address of a pod or a node. */
export const podGateway: Record<Family, string> = { 4: "169.254.1.1", 6: "fe80::1" };

/** A route that the pod's owner requested; `gw` is ignored, because all traffic of the pod goes through the node. */
export interface PodRoute {
  readonly dst: string;
}

export interface StandalonePod {
  readonly ifname: string;
  /** The node's end of the veth. */
  readonly hostDev: string;
  readonly hostMac: string;
  readonly podMac: string;
  /** The addresses; each family gets at most one default route. */
  readonly ips: readonly string[];
  /** The MTU in bytes; if it is absent, the kernel's default stays. */
  readonly mtu?: number;
  /** The routes beside the default route, which every family with an address gets. */
  readonly routes: readonly PodRoute[];
}

export interface PodNames {
  readonly hostDev: string;
  readonly hostMac: string;
  readonly podMac: string;
}

/**
 * Derives names from the attachment alone, so that a DEL without a record finds
 * the objects of ADD. They are 24 digits of xxHash32, which unlike a
 * cryptographic hash costs a process nothing to set up; there is no gain in a
 * collision, which ADD would find and report.
 */
export function podNames({ containerID, ifname }: { containerID: string; ifname: string }): PodNames {
  const text = `${containerID} ${ifname}`;
  const hex = hash32(text, 0) + hash32(text, 1) + hash32(text, 2);
  return { hostDev: `wgc${hex.slice(0, 12)}`, hostMac: localMac(hex, 2), podMac: localMac(hex, 12) };
}

/** Returns eight hexadecimal digits. */
function hash32(text: string, seed: number): string {
  return Bun.hash.xxHash32(text, seed).toString(16).padStart(8, "0");
}

/** Makes a locally administered MAC address (IEEE 802, 8.4) of the ten digits from `at`. */
function localMac(hex: string, at: number): string {
  let mac = "02";
  for (let i = at; i < at + 10; i += 2) mac += `:${hex.slice(i, i + 2)}`;
  return mac;
}

/** Creates the pair, and configures the node's end before anything can arrive on it. */
export function linkSteps(pod: StandalonePod, netnsFd: number): Step[] {
  return [
    vethStep(pod, netnsFd),
    ...podLinkIpv6Sysctls(pod.hostDev),
    { do: "changeLink", dev: pod.hostDev, change: { up: true } },
  ];
}

/** Creates the pod's end directly in the pod's namespace, open as `netnsFd`. */
function vethStep(pod: StandalonePod, netnsFd: number): RtnlStep {
  const mtu = pod.mtu === undefined ? {} : { mtu: pod.mtu };
  const peer = { name: pod.ifname, mac: pod.podMac, netnsFd, ...mtu };
  return {
    do: "addLink",
    link: {
      name: pod.hostDev,
      kind: "veth",
      mac: pod.hostMac,
      addrGenModeNone: true,
      group: podLinkGroup,
      ipv4: podLinkIpv4,
      ...mtu,
      peer,
    },
  };
}

/** Returns the steps inside the pod, after its interface exists. */
export function podSideSteps(pod: StandalonePod): RtnlStep[] {
  const inPod = { netns: "pod" } as const;
  return [
    { do: "changeLink", dev: pod.ifname, change: { up: true }, ...inPod },
    ...podAddresses(pod).map((address) => ({ do: "addAddress", address, ...inPod }) as const),
    ...podNeighbours(pod).map((neighbour) => ({ do: "replaceNeighbour", neighbour, ...inPod }) as const),
    ...podRoutes(pod).map((route) => ({ do: "addRoute", route, ...inPod }) as const),
  ];
}

/** Returns the steps that the node needs to reach the pod. */
export function hostSideSteps(pod: StandalonePod): RtnlStep[] {
  return [
    ...hostNeighbours(pod).map((neighbour) => ({ do: "replaceNeighbour", neighbour }) as const),
    ...hostRoutes(pod).map((route) => ({ do: "replaceRoute", route }) as const),
  ];
}

/** Keeps a pod's addresses out of the tunnel on its own node. */
export function throwSteps(settings: Settings, ips: readonly string[]): RouteStep[] {
  const routes = ips.flatMap((ip) => localRoutes(settings, hostPrefix(ip)));
  return routes.map((route) => ({ do: "replaceRoute", route }));
}

export function podAddresses({ ifname, ips }: StandalonePod): Address[] {
  return ips.map((ip) => ({
    dev: ifname,
    ip,
    length: familyOf(ip) === 4 ? 32 : 128,
    scope: "global",
    noPrefixRoute: false,
    noDad: true,
  }));
}

export function podNeighbours(pod: StandalonePod): Neighbour[] {
  return familiesOf(pod).map((family) => ({
    dev: pod.ifname,
    ip: podGateway[family],
    mac: pod.hostMac,
    permanent: true,
  }));
}

export function hostNeighbours(pod: StandalonePod): Neighbour[] {
  return pod.ips.map((ip) => ({ dev: pod.hostDev, ip, mac: pod.podMac, permanent: true }));
}

/** Returns the pod's routes: first the one to the gateway, then those through it. */
export function podRoutes(pod: StandalonePod): Route[] {
  return familiesOf(pod).flatMap((family) => {
    const via = podGateway[family];
    const asked = pod.routes.map((route) => route.dst).filter((dst) => familyOf(dst) === family);
    const destinations = [...asked, defaultPrefix(family)].filter((dst, i, list) => list.indexOf(dst) === i);
    return [
      linkRoute(hostPrefix(via), pod.ifname),
      ...destinations.map((dst) => ({ ...linkRoute(dst, pod.ifname), via, scope: "global" }) as const),
    ];
  });
}

export function hostRoutes(pod: StandalonePod): Route[] {
  return pod.ips.map((ip) => linkRoute(hostPrefix(ip), pod.hostDev));
}

function linkRoute(dst: string, dev: string): Route {
  const family = familyOf(dst);
  const base = { family, table: mainTable, type: "unicast", dst, dev, protocol: 3 } as const;
  return family === 4 ? { ...base, scope: "link" } : { ...base, scope: "global", priority: 1024 };
}

function familiesOf({ ips }: StandalonePod): Family[] {
  return ([4, 6] as const).filter((family) => ips.some((ip) => familyOf(ip) === family));
}
