// Finds the pods of this node in the kernel, whichever plugin attached them and when: a pod that was there
// before wg-cni is not in our store, and a runtime's cache of results may be stale, be kept elsewhere, or
// not be mounted. Pure.
//
//   the kernel has                                        so it is
//   ────────────────────────────────────────────────────  ─────────────────────
//   a route to one address over one end of a pair, whose  a pod's address
//   other end is in another network namespace (AWS,
//   Azure, GKE, ptp, Calico, Cilium's endpoint routes)
//   the same, but the link has a gateway or a network     an uplink of a node that
//   behind it                                             is itself a container
//   a route to an address over anything else              a host's, a tunnel's
//   an address on an interface of the node itself         the node's: host-network
//                                                         pods, secondary addresses,
//                                                         kube-ipvs0, virtual IPs
//
// A pod without a route shows only by its packets: if its bridge is the node's uplink, too, the bridge has
// learned the port, and the node the address. That is enough to name the pod, and too little to announce it,
// because both are forgotten when the pod sends nothing. A pod on macvlan, or with a hardware device, is not
// found at all.
import { familyBits, familyOf } from "../../net/ip.ts";
import type { Address, BridgeEntry, Link, Neighbour, Route } from "../../net/objects.ts";
import { hostPrefix, prefixContains } from "../../net/prefix.ts";
import { specialAddress } from "../../net/special.ts";
import { type Outside, pairKinds } from "./far-end.ts";

export interface HostView {
  readonly links: readonly Link[];
  /** Routes of the main table and of all tables that a rule leads to, without our own. */
  readonly routes: readonly Route[];
  readonly addresses: readonly Address[];
}

/** An address of a pod, and the node's end of its link. */
export interface SeenPod {
  readonly ip: string;
  readonly dev: string;
}

/** True if a link may lead to a pod; its routes decide. */
export function isPairToElsewhere({ kind, linkNetnsId, up }: Link): boolean {
  return up && linkNetnsId !== undefined && pairKinds.includes(kind);
}

/** Returns the pods in order of their addresses, each address once. */
export function findPods({ links, routes, addresses }: HostView): SeenPod[] {
  const candidates = new Set(links.filter(isPairToElsewhere).map(({ name }) => name));
  for (const route of routes) if (route.dev !== undefined && !leadsToOne(route)) candidates.delete(route.dev);
  const own = new Set(addresses.map(({ ip }) => ip));
  const found = new Map<string, SeenPod>();
  for (const { type, dst, dev } of routes) {
    const ip = addressOf(dst);
    if (type !== "unicast" || ip === undefined || dev === undefined || !candidates.has(dev)) continue;
    if (!own.has(ip) && specialAddress(ip) === undefined) found.set(ip, { ip, dev });
  }
  return [...found.values()];
}

export interface BridgeView {
  readonly links: readonly Link[];
  /** Names of the bridges that default routes leave by. */
  readonly bridges: readonly string[];
  /** The entries that those bridges have learned. */
  readonly neighbours: readonly Neighbour[];
  readonly learned: readonly BridgeEntry[];
  /** Addresses of other nodes and of gateways: the port that they are behind leads to the wire. */
  readonly outside: ReadonlySet<string>;
}

/** Returns addresses that are in use behind a bridge port that leads into another network namespace. */
export function findBridgedPods({ links, bridges, neighbours, learned, outside }: BridgeView): SeenPod[] {
  const indexes = new Set(links.filter(({ name }) => bridges.includes(name)).map(({ index }) => index));
  const isPort = ({ masterIndex = 0 }: Link) => indexes.has(masterIndex);
  const ports = new Set(
    links.filter((link) => isPort(link) && isPairToElsewhere(link)).map(({ name }) => name),
  );
  const portOf = new Map(learned.map(({ mac, dev }) => [mac, dev]));
  for (const { ip, mac } of neighbours) if (outside.has(ip)) ports.delete(portOf.get(mac) ?? "");
  return neighbours.flatMap(({ ip, mac }) => {
    const dev = portOf.get(mac);
    return dev === undefined || !ports.has(dev) || specialAddress(ip) !== undefined ? [] : [{ ip, dev }];
  });
}

/** False if a network is behind the link. Link-local and multicast networks do not count, because every link has them. */
function leadsToOne({ type, dst, via }: Route): boolean {
  if (type !== "unicast") return true;
  if (via !== undefined) return false;
  return addressOf(dst) !== undefined || isLinkLocal(dst);
}

function isLinkLocal(dst: string): boolean {
  return ["fe80::/10", "ff00::/8", "169.254.0.0/16"].some((special) => prefixContains(special, dst));
}

/** Returns the single address of a prefix; undefined for a wider one. */
export function addressOf(prefix: string): string | undefined {
  const slash = prefix.indexOf("/");
  const isOne = Number(prefix.slice(slash + 1)) === familyBits(familyOf(prefix));
  return isOne ? prefix.slice(0, slash) : undefined;
}

export interface PodFacts {
  /** The pod CIDRs of this node's record. */
  readonly podCIDRs: readonly string[];
  /** Addresses of the pods that our plugin attached. */
  readonly attached: readonly string[];
  readonly seen: readonly SeenPod[];
  /** Addresses in use behind a bridge. */
  readonly bridged: readonly SeenPod[];
  /** Addresses of pods that our plugin attached and that the tunnel cannot have. */
  readonly outside: readonly Outside[];
}

/** `why`: a clause, if it is known by more than its absence from the record. */
export type UnknownPod = Pick<SeenPod, "ip"> & { readonly dev?: string; readonly why?: string };

export interface LocalPods {
  /** Pods that the kernel shows and that our plugin did not attach. */
  readonly earlier: readonly SeenPod[];
  /** Pods whose addresses are not in this node's record: no peer sends to them through the tunnel, or accepts their packets from it. */
  readonly unknown: readonly UnknownPod[];
}

export function judgePods({ podCIDRs, attached, seen, bridged, outside }: PodFacts): LocalPods {
  const known = new Set(attached);
  const earlier = seen.filter(({ ip }) => !known.has(ip));
  const isAnnounced = (ip: string) => podCIDRs.some((cidr) => prefixContains(cidr, hostPrefix(ip)));
  const found = [...earlier, ...bridged];
  const devs = new Map(found.map(({ ip, dev }) => [ip, dev]));
  const whys = new Map(
    outside.flatMap(({ ips, why, kind }) =>
      // An address that another node had is ours as soon as our record has it.
      ips.filter((ip) => kind === "bypass" || !isAnnounced(ip)).map((ip) => [ip, why] as const),
    ),
  );
  const all = [...attached.filter((ip) => specialAddress(ip) === undefined), ...found.map(({ ip }) => ip)];
  const unknown = [...new Set([...all.filter((ip) => !isAnnounced(ip)), ...whys.keys()])].map((ip) => {
    const dev = devs.get(ip);
    const why = whys.get(ip);
    return { ip, ...(dev === undefined ? {} : { dev }), ...(why === undefined ? {} : { why }) };
  });
  return { earlier, unknown };
}

/** Returns every address that this node announces if its pods have addresses of the network. */
export function announcedIPs(attached: readonly string[], seen: readonly SeenPod[]): string[] {
  return [...new Set([...attached, ...seen.map(({ ip }) => ip)])];
}

/** Returns text such as "10.0.0.7 (eni1a2b)" or "10.0.0.8 (eth0 is an interface of kind macvlan)". */
export function describePod({ ip, dev, why }: UnknownPod): string {
  const more = why ?? dev;
  return more === undefined ? ip : `${ip} (${more})`;
}
