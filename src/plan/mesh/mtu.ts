// Derives the MTU of the WireGuard devices: the MTU of the narrowest route to a peer, less the tunnel's
// headers. All peers share the devices, so the smallest value wins. The result has the number and the
// text for `status`. Pure.
import { type Family, familyOf } from "../../net/ip.ts";
import type { RouteLookup } from "../../net/objects.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { OwnedPeer } from "../peers/model.ts";
import { endpointCandidates, routeSlot } from "../peers/path.ts";
import type { Settings } from "../settings/settings.ts";

/** Bytes a tunnel packet adds: outer IP and UDP headers, WireGuard's header and tag. */
export const overheadBytes: Record<Family, number> = { 4: 60, 6: 80 };
/** Below this IPv6 does not work at all (RFC 8200, 5). */
export const ipv6MinimumMtu = 1280;
/** The MTU of Ethernet is assumed if no peer is reachable and no interface has the node's endpoint, as behind NAT. */
const assumedUplinkMtu = 1500;

/** An interface that tunnel packets leave by. */
export interface Uplink {
  readonly dev: string;
  readonly mtu: number;
}

export interface DerivedMtu {
  readonly bytes: number;
  /** "eth0 towards 192.0.2.2 (node n2) has 1460, less 60 for the tunnel". */
  readonly reason: string;
  /** The interfaces that the number depends on. If one changes, it is derived again. The list is empty if it was set by hand. */
  readonly uplinks: readonly Uplink[];
}

export interface MtuFacts {
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly peers: readonly OwnedPeer[];
  /** Addresses of pods on this node. */
  readonly podIPs: readonly string[];
  /** The kernel's route to each of `peerEndpoints`. */
  readonly routes: readonly RouteLookup[];
  /** MTU of the interfaces that the routes name; our own devices are left out. */
  readonly linkMtus: ReadonlyMap<string, number>;
  /** The interface that has the node's own endpoint. */
  readonly own?: Uplink;
}

/** Returns every address that tunnel packets may be sent to, with the name of its node. */
export function peerEndpoints(node: NodeRecord, peers: readonly OwnedPeer[]): Map<string, string> {
  const endpoints = new Map<string, string>();
  for (const peer of peers) {
    if (routeSlot(node, peer) === undefined) continue;
    for (const ip of endpointCandidates(node, peer)) endpoints.set(ip, peer.name);
  }
  return endpoints;
}

export function deriveMtu(facts: MtuFacts): DerivedMtu {
  const { settings } = facts;
  if (settings.mtu !== 0) return { bytes: settings.mtu, reason: "set by hand", uplinks: [] };
  const { from, overhead, left, uplinks } = narrowest(facts) ?? ownUplink(facts);
  const reason = `${from}, less ${overhead} for the tunnel`;
  if (left >= ipv6MinimumMtu || !usesIpv6(facts)) return { bytes: left, reason: reason, uplinks };
  return {
    bytes: ipv6MinimumMtu,
    reason: `raised to ${ipv6MinimumMtu}, which IPv6 needs; ${reason}: outer packets will be fragmented`,
    uplinks,
  };
}

interface MtuCandidate {
  /** The source of the number, in words. */
  readonly from: string;
  readonly overhead: number;
  /** The bytes that are left for the packets inside. */
  readonly left: number;
  readonly uplinks: readonly Uplink[];
}

/** Finds the route to a peer that leaves the least; undefined if no peer can be reached. */
function narrowest({ peers, routes, linkMtus }: MtuFacts): MtuCandidate | undefined {
  let least: { route: RouteLookup; dev: string; mtu: number; left: number } | undefined;
  for (const route of routes) {
    // A "local" route means an address of this node, even if the record of a peer has it.
    if (route.type !== "unicast") continue;
    const overhead = overheadBytes[familyOf(route.dst)];
    for (const dev of route.devs) {
      const link = linkMtus.get(dev);
      if (link === undefined) continue;
      const mtu = Math.min(link, route.mtu ?? link);
      if (least === undefined || mtu - overhead < least.left)
        least = { route, dev, mtu, left: mtu - overhead };
    }
  }
  if (least === undefined) return undefined;
  const { route, dev, mtu, left } = least;
  const whom = `${route.dst} (node ${peers.find(({ endpoints }) => endpoints.includes(route.dst))?.name})`;
  return {
    from:
      mtu === linkMtus.get(dev)
        ? `${dev} towards ${whom} has ${mtu}`
        : `the route to ${whom} by ${dev} has mtu ${mtu}`,
    overhead: mtu - left,
    left,
    uplinks: [...linkMtus].map(([name, linkMtu]) => ({ dev: name, mtu: linkMtu })),
  };
}

/** Returns the node's own uplink, which decides as long as there are no peers. */
function ownUplink({ node, own }: MtuFacts): MtuCandidate {
  const mtu = own?.mtu ?? assumedUplinkMtu;
  const overhead = overheadBytes[node.endpoints.some((ip) => familyOf(ip) === 6) ? 6 : 4];
  return {
    from:
      own === undefined
        ? `no interface has ${node.endpoints[0] ?? "an endpoint"}: ${mtu} is assumed`
        : `${own.dev} has ${mtu}`,
    overhead,
    left: mtu - overhead,
    uplinks: own === undefined ? [] : [own],
  };
}

/** True if the node, its pods or a peer use IPv6: without IPv6 on our devices there is no route to a peer's IPv6 pods. */
export function usesIpv6({ node, peers, podIPs }: Pick<MtuFacts, "node" | "peers" | "podIPs">): boolean {
  const isIpv6 = (text: string) => familyOf(text) === 6;
  const ofNode = ({ endpoints, nodeIPs, podCIDRs }: Pick<NodeRecord, "endpoints" | "nodeIPs" | "podCIDRs">) =>
    endpoints.some(isIpv6) || nodeIPs.some(isIpv6) || podCIDRs.some(isIpv6);
  return ofNode(node) || podIPs.some(isIpv6) || peers.some(ofNode);
}
