import { type Family, familyOf } from "../../net/ip.ts";
import type { NftTable } from "../../net/nftables.ts";
import type { Address, Route, Rule } from "../../net/objects.ts";
import type { PeerPath } from "../../net/path.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { rekeyTimeoutMs } from "../../net/wireguard-timers.ts";
import { marksOf } from "../firewall/marks.ts";
import type { Remote } from "../firewall/sets.ts";
import { firewallTables } from "../firewall/table.ts";
import { validMarkSysctl } from "../host/host-changes.ts";
import { exemptionsOf } from "../host/host-encryption.ts";
import { reservedPortsSysctl, withPorts } from "../host/reserved-ports.ts";
import type { OwnedPeer, Ownership } from "../peers/model.ts";
import { contestedHosts } from "../peers/node-ip-proof.ts";
import {
  endpointCandidates,
  hasNoPlace,
  isBarred,
  ownSlots,
  resolvePath,
  slots,
  usableSlot,
} from "../peers/path.ts";
import { type Settings, slotDevice, slotPort } from "../settings/settings.ts";
import { type Capabilities, fullCapabilities } from "./capabilities.ts";
import type { Mesh, MeshDevice, MeshLink, MeshPeer } from "./model.ts";
import { RouteIndex } from "./route-index.ts";

const families: readonly Family[] = [4, 6];

/** The metric of strict mode's refusals. They come after the tunnel's routes, which have 0 (IPv4) and 1024 (IPv6). */
const behindPriority = 0x7fff_ffff;

export interface MeshFacts {
  readonly settings: Settings;
  /** This node's own record; its keys are those of the two devices. */
  readonly node: NodeRecord;
  readonly ownership: Ownership;
  /** The path to each peer. It is absent if no agent decides; routes are then installed at once. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  /** Peers whose record the kernel has not seen yet: their endpoints are set, wherever they had roamed to. */
  readonly changedPeers: ReadonlySet<string>;
  /** True if traffic between the nodes themselves takes the tunnel too. */
  readonly hostEncryption: boolean;
  /** Addresses of pods on this node. */
  readonly podIPs: readonly string[];
  /** "wireguard", or "tun" if a userspace implementation holds the device. */
  readonly linkKind: "wireguard" | "tun";
  /** MTU of the WireGuard devices in bytes. */
  readonly mtu: number;
  /** False if the kernel has no nftables: encryption works without, but nothing counts what is in plaintext. */
  readonly hasFirewall: boolean;
  /** Interfaces with a strict reverse-path filter by which plaintext of other nodes may arrive; none if nothing is marked. */
  readonly strictArrivals?: readonly string[];
  /** The parts of the mesh that the host supports. If it is absent, the host supports all of them. */
  readonly capabilities?: Capabilities;
  /** False if the kernel tracks no connections: then none is translated either. */
  readonly hasConntrack: boolean;
  /** Interfaces that lead to other nodes and the rest of the world, and to no pod of this node. */
  readonly uplinks: readonly string[];
  /** The host's list of reserved ports as it is; absent if the kernel keeps none. */
  readonly reservedPorts?: string;
}

/** Returns the whole desired state of a node that is up. */
export function desiredMesh(facts: MeshFacts): Mesh {
  const { settings, node, ownership, strictArrivals = [] } = facts;
  const { tunnel, routing } = facts.capabilities ?? fullCapabilities;
  const own = ownSlots(node);
  const names = own.map((slot) => slotDevice(settings, slot));
  const peers = ownership.peers.map((peer) => resolvePeer(facts, peer));
  const devices = new Map(own.map((slot) => [slotDevice(settings, slot), desiredDevice(facts, peers, slot)]));
  return {
    links: new Map([...devices].map(([name, device]) => [name, desiredLink(facts, device)])),
    devices,
    addresses: names.flatMap((dev) => addressesOf(dev, node, tunnel)),
    routes: desiredRoutes(facts, peers),
    rules: routing.flatMap((family) => desiredRules(settings, family)),
    sysctls: new Map([
      ...reserveOwnPorts(facts),
      // The reverse-path check of a marked packet must use the mark, or one-sided phases drop packets.
      ...strictArrivals.map((dev) => [validMarkSysctl(dev), "1"] as const),
      ...names.map((name) => [`net/ipv4/conf/${name}/rp_filter`, "2"] as const),
    ]),
    firewall: facts.hasFirewall ? desiredFirewall(facts) : [],
  };
}

/** Reserves the ports of our slots, also of withdrawn ones, because these slots will come back. */
function reserveOwnPorts({ settings, reservedPorts }: MeshFacts): [string, string][] {
  if (reservedPorts === undefined) return [];
  const ports = slots.map((slot) => slotPort(settings, slot));
  return [[reservedPortsSysctl, withPorts(reservedPorts, ports)]];
}

/** The name of our nftables tables. */
export const firewallName = "wg-cni";

function desiredFirewall(facts: MeshFacts): NftTable[] {
  const { settings, node, ownership, hostEncryption, hasConntrack, uplinks } = facts;
  return firewallTables({
    table: firewallName,
    devices: ownSlots(node).map((slot) => slotDevice(settings, slot)),
    ports: ownSlots(node).map((slot) => slotPort(settings, slot)),
    mark: settings.fwmark,
    strict: settings.mode === "strict",
    pods: ownership.peers.flatMap(({ podCIDRs }) => podCIDRs),
    nodes: ownership.peers.flatMap(({ nodeIPs, barredIPs = [] }) => [...nodeIPs, ...barredIPs]),
    contested: contestedHosts(ownership.peers),
    own: node.nodeIPs,
    localPods: node.podCIDRs,
    clusterCIDRs: refusedCIDRs(settings),
    podsAreAnnounced: settings.podAddresses === "pods",
    uplinks,
    connections: hasConntrack,
    hostEncryption,
    exempt: exemptionsOf(settings),
  });
}

/** Returns all pod CIDRs and addresses of other nodes, with their owners. */
export function remotesOf(peers: readonly OwnedPeer[]): Remote[] {
  return peers.flatMap(({ name: peer, podCIDRs, nodeIPs }) =>
    [...podCIDRs, ...nodeIPs].map((element) => ({ element, peer })),
  );
}

/** Returns the node's own address in each family: the source of packets that it sends to remote pods. */
export function nodeAddresses(node: NodeRecord): string[] {
  return families.flatMap((family) => node.nodeIPs.find((ip) => familyOf(ip) === family) ?? []);
}

function addressesOf(dev: string, node: NodeRecord, tunnel: readonly Family[]): Address[] {
  return nodeAddresses(node)
    .filter((ip) => tunnel.includes(familyOf(ip)))
    .map((ip) => deviceAddress(dev, ip));
}

function deviceAddress(dev: string, ip: string): Address {
  return {
    dev,
    ip,
    length: familyOf(ip) === 4 ? 32 : 128,
    scope: "global",
    noPrefixRoute: true,
    noDad: true,
  };
}

/** Returns the rules of one family in the order of their priorities; at one priority their order does not matter. */
export function desiredRules(settings: Settings, family: Family): Rule[] {
  const { rulePriority: first, routeProtocol: protocol, hostTable, podTable } = settings;
  const { outside, inside, arrived } = marksOf(settings.fwmark);
  const rule = { family, protocol, invert: false };
  const skip = { ...rule, priority: first, action: "goto", target: first + 3 } as const;
  const lookup = { ...rule, action: "lookup" } as const;
  return [
    { ...skip, iif: "lo", fwmark: outside },
    { ...skip, fwmark: arrived },
    // Only IPv4 has reverse-path filtering by routes.
    ...(family === 4
      ? slots.map((slot): Rule => ({ ...skip, iif: slotDevice(settings, slot), fwmark: inside }))
      : []),
    { ...lookup, priority: first + 1, table: podTable },
    { ...lookup, priority: first + 2, table: hostTable, invert: true, iif: "lo" },
    { ...lookup, priority: first + 2, table: hostTable, fwmark: inside },
    { ...rule, priority: first + 3, action: "nop" },
  ];
}

/** NAPI threads belong to peers: the kernel refuses them for a device without peers (EOPNOTSUPP). */
function desiredLink({ settings, linkKind, mtu }: MeshFacts, { peers }: MeshDevice): MeshLink {
  const mayThread = linkKind === "wireguard" && peers.size > 0;
  return { kind: linkKind, mtu, up: true, ...(mayThread ? { threaded: settings.napiThreading } : {}) };
}

/** A peer after everything is decided: the properties that its two devices and its routes share. */
interface ResolvedPeer {
  readonly peer: OwnedPeer;
  readonly path: PeerPath;
  /** Absent if it has no endpoint that this node could send to. */
  readonly endpointIP: string | undefined;
  /** Its node IPs as prefixes. */
  readonly hosts: readonly string[];
  readonly barred: readonly string[];
  readonly allowedIPs: readonly string[];
}

function resolvePeer({ node, paths }: MeshFacts, peer: OwnedPeer): ResolvedPeer {
  const path = resolvePath(node, peer, paths);
  const candidates = endpointCandidates(node, peer);
  const endpointIP = candidates[path.candidate % candidates.length];
  const hosts = peer.nodeIPs.map(hostPrefix);
  const barred = (peer.barredIPs ?? []).map(hostPrefix);
  // The peer may open its gate a moment earlier than this node, and send from addresses that no handshake has proven yet.
  const early = (path.slot === undefined ? peer.earlyIPs : peer.sourceIPs) ?? [];
  return {
    peer,
    path,
    endpointIP,
    hosts,
    barred,
    allowedIPs: unique([...peer.podCIDRs, ...hosts, ...early.map(hostPrefix)]),
  };
}

/** Most peers have a handful of prefixes, for which a set costs more than it saves. */
function unique(prefixes: readonly string[]): readonly string[] {
  if (prefixes.length > 8) return [...new Set(prefixes)];
  return prefixes.filter((prefix, i) => prefixes.indexOf(prefix) === i);
}

function desiredDevice(facts: MeshFacts, resolved: readonly ResolvedPeer[], slot: Slot): MeshDevice {
  const { settings, node, changedPeers, paths } = facts;
  const peers = new Map<string, MeshPeer>();
  for (const { peer, path, endpointIP, allowedIPs } of resolved) {
    const record = usableSlot(peer, slot);
    if (record === undefined || (paths === undefined && hasNoPlace(peer))) continue;
    const ip = path.probe?.slot === slot ? path.probe.ip : endpointIP;
    peers.set(record.publicKey, {
      // Without an endpoint here, the kernel keeps the one that it has, and learns another from the peer's packets.
      ...(ip === undefined ? {} : { endpoint: { ip, port: record.port } }),
      keepaliveSeconds: path.initiate.includes(slot) ? initiateSeconds : settings.persistentKeepalive,
      hasPresharedKey: false,
      allowedIPs,
      lastHandshakeMs: 0,
      mayRoam: !path.pinned && !changedPeers.has(peer.name),
      isOpen: paths !== undefined && path.slot === slot,
    });
  }
  const own = node.slots.find((record) => record.slot === slot);
  return {
    ...(own === undefined ? {} : { publicKey: own.publicKey }),
    listenPort: slotPort(settings, slot),
    fwmark: settings.fwmark.mark,
    peers,
  };
}

/** WireGuard itself repeats a handshake as often, and sends at once when a keepalive is set. */
const initiateSeconds = rekeyTimeoutMs / 1000;

function desiredRoutes(facts: MeshFacts, peers: readonly ResolvedPeer[]): Route[] {
  const { settings, node, podIPs, hostEncryption, paths, capabilities = fullCapabilities } = facts;
  const { podTable, hostTable } = settings;
  const strict = settings.mode === "strict";
  const routes = new RouteIndex();
  // If a device is deleted, its routes go with it, and these routes behind them apply.
  const putTunnel = (route: Route) => {
    routes.put(route);
    if (strict)
      routes.put({ ...refusal(settings, route.table, route.dst, "prohibit"), priority: behindPriority });
  };
  // The table of pods does not get it, because this node's own processes and the tunnel itself use that table, too.
  for (const cidr of refusedCIDRs(settings)) routes.put(refusal(settings, hostTable, cidr, "prohibit"));
  const sources = new Map(nodeAddresses(node).map((ip) => [familyOf(ip), ip]));
  for (const { peer, path, hosts, barred } of peers) {
    const slotFor = (dst: string) => (carries(capabilities, dst) ? path.slot : undefined);
    const isRefused = strict || isBarred(peer, paths);
    for (const cidr of peer.podCIDRs) {
      const slot = slotFor(cidr);
      if (slot === undefined) routes.put(refusal(settings, podTable, cidr, isRefused ? "prohibit" : "throw"));
      else putTunnel(tunnelRoute(settings, podTable, cidr, slot, sources.get(familyOf(cidr))));
    }
    for (const dst of barred) routes.put(refusal(settings, hostTable, dst, "prohibit"));
    for (const dst of hosts) {
      const slot = slotFor(dst);
      if (slot !== undefined) putTunnel(tunnelRoute(settings, hostTable, dst, slot));
      else if (isRefused) routes.put(refusal(settings, hostTable, dst, "prohibit"));
      // No refusing route stands behind this one, not even in strict mode: if a device is lost, it would apply
      // before the rules that keep the control plane outside, and cut the node off from it.
      if (slot !== undefined && hostEncryption)
        routes.put(tunnelRoute(settings, podTable, dst, slot, sources.get(familyOf(dst))));
    }
  }
  for (const dst of [...node.podCIDRs, ...podIPs.map(hostPrefix)])
    for (const route of localRoutes(settings, dst)) routes.put(route);
  const list = routes.list();
  // A kernel without rules may have only one table, and our table would be the main one.
  return capabilities.routing.length === families.length
    ? list
    : list.filter(({ family }) => capabilities.routing.includes(family));
}

/** True if our devices can carry packets to the address or prefix. */
function carries({ tunnel }: Capabilities, dst: string): boolean {
  return tunnel.length === families.length || tunnel.includes(familyOf(dst));
}

/** Returns the prefixes that pods must not reach unless a peer has announced them. */
function refusedCIDRs({ mode, clusterCIDRs }: Settings): readonly string[] {
  return mode === "strict" ? clusterCIDRs : [];
}

/** Returns the addresses of other nodes that this node itself reaches through the tunnel. */
export function tunneledHosts(facts: MeshFacts): Set<string> {
  const { node, ownership, paths, hostEncryption, capabilities = fullCapabilities } = facts;
  if (!hostEncryption) return new Set();
  const open = ownership.peers.filter((peer) => resolvePath(node, peer, paths).slot !== undefined);
  return new Set(open.flatMap(({ nodeIPs }) => nodeIPs.filter((ip) => carries(capabilities, ip))));
}

/** Returns the routes for pods of this node: their addresses are looked up in the main table, even if a wider prefix leads into the tunnel. */
export function localRoutes(settings: Settings, dst: string): Route[] {
  const { podTable, hostTable } = settings;
  const tables = refusedCIDRs(settings).length > 0 ? [podTable, hostTable] : [podTable];
  return tables.map((table) => refusal(settings, table, dst, "throw"));
}

function tunnelRoute(settings: Settings, table: number, dst: string, slot: Slot, src?: string): Route {
  const scope = familyOf(dst) === 4 ? "link" : "global";
  const route = makeRoute(settings, table, dst, { type: "unicast", dev: slotDevice(settings, slot), scope });
  return src === undefined ? route : { ...route, src };
}

function refusal(settings: Settings, table: number, dst: string, type: "throw" | "prohibit"): Route {
  return makeRoute(settings, table, dst, { type, scope: "global" });
}

function makeRoute(
  { routeProtocol: protocol }: Settings,
  table: number,
  dst: string,
  way: Pick<Route, "type" | "dev" | "scope">,
): Route {
  const family = familyOf(dst);
  const route = { family, table, dst, protocol, ...way };
  // The kernel gives an IPv6 route without a metric 1024 (IP6_RT_PRIO_USER).
  return family === 6 ? { ...route, priority: 1024 } : route;
}
