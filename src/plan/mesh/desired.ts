import { type Family, familyOf } from "../../net/ip.ts";
import { keepLastList } from "../../net/keep.ts";
import type { NftTable } from "../../net/nftables.ts";
import type { Address, Route, Rule } from "../../net/objects.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { marksOf } from "../firewall/marks.ts";
import type { Remote } from "../firewall/sets.ts";
import { firewallTables } from "../firewall/table.ts";
import { deviceForwarding, validMarkSysctl } from "../host/host-changes.ts";
import { exemptionsOf } from "../host/host-encryption.ts";
import { reservedPortsSysctl, withPorts } from "../host/reserved-ports.ts";
import type { OwnedPeer, Ownership } from "../peers/model.ts";
import { contestedHosts } from "../peers/node-ip-proof.ts";
import { ownSlots, resolvePath, slots } from "../peers/path.ts";
import { type Settings, slotDevice, slotPort } from "../settings/settings.ts";
import { fullCapabilities } from "./capabilities.ts";
import { carries, makePart, nodeAddresses, type PeerFacts, type PeerPart } from "./desired-peer.ts";
import type { Mesh, MeshDevice, MeshLink, MeshPeer } from "./model.ts";
import { RouteIndex } from "./route-index.ts";
import { localRoutes, refusal, refusedCIDRs } from "./routes.ts";

const families: readonly Family[] = [4, 6];

/** Everything that the mesh is made from. */
export interface MeshFacts extends PeerFacts {
  readonly ownership: Ownership;
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
  /** False if the kernel tracks no connections: then none is translated either. */
  readonly hasConntrack: boolean;
  /** Interfaces that lead to other nodes and the rest of the world, and to no pod of this node. */
  readonly uplinks: readonly string[];
  /** The host's list of reserved ports as it is; absent if the kernel keeps none. */
  readonly reservedPorts?: string;
}

/** Returns the whole desired state of a node that is up. `parts`: those of the peers, if they are known. */
export function desiredMesh(
  facts: MeshFacts,
  parts: readonly PeerPart[] = facts.ownership.peers.map((peer) => makePart(facts, peer)),
): Mesh {
  const { settings, node, strictArrivals = [] } = facts;
  const { tunnel, routing } = facts.capabilities ?? fullCapabilities;
  const own = ownSlots(node);
  const names = own.map((slot) => slotDevice(settings, slot));
  const devices = new Map(own.map((slot) => [slotDevice(settings, slot), desiredDevice(facts, parts, slot)]));
  return {
    links: new Map([...devices].map(([name, device]) => [name, desiredLink(facts, device)])),
    devices,
    addresses: names.flatMap((dev) => addressesOf(dev, node, tunnel)),
    routes: desiredRoutes(facts, parts),
    rules: routing.flatMap((family) => desiredRules(settings, family)),
    sysctls: new Map([
      ...reserveOwnPorts(facts),
      // The reverse-path check of a marked packet must use the mark, or one-sided phases drop packets.
      ...strictArrivals.map((dev) => [validMarkSysctl(dev), "1"] as const),
      ...names.flatMap(deviceSysctls),
    ]),
    firewall: facts.hasFirewall ? desiredFirewall(facts) : [],
  };
}

/** A host may have forwarding off for new interfaces (net.ipv4.conf.default.forwarding). Of IPv6 there is no such switch. */
function deviceSysctls(name: string): [string, string][] {
  return [
    [`net/ipv4/conf/${name}/rp_filter`, "2"],
    [deviceForwarding(4, name), "1"],
  ];
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
    pods: lastPods(ownership.peers.flatMap(({ podCIDRs }) => podCIDRs)),
    nodes: lastNodes(ownership.peers.flatMap(({ nodeIPs, barredIPs = [] }) => [...nodeIPs, ...barredIPs])),
    senders: lastSenders(sendersOf(ownership.peers)),
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

/** A set of the table is made anew only if its addresses have changed. */
const lastPods = keepLastList<string>();
const lastNodes = keepLastList<string>();
const lastSenders = keepLastList<string>();

/** Returns the addresses that the peers name as theirs. */
function sendersOf(peers: readonly OwnedPeer[]): readonly string[] {
  return [...new Set(peers.flatMap(({ endpoints, nodeIPs }) => [...endpoints, ...nodeIPs]))];
}

/** Returns all pod CIDRs and addresses of other nodes, with their owners. */
export function remotesOf(peers: readonly OwnedPeer[]): Remote[] {
  return peers.flatMap(({ name: peer, podCIDRs, nodeIPs }) =>
    [...podCIDRs, ...nodeIPs].map((element) => ({ element, peer })),
  );
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

function desiredDevice({ settings, node }: MeshFacts, parts: readonly PeerPart[], slot: Slot): MeshDevice {
  const peers = new Map<string, MeshPeer>();
  for (const { members } of parts)
    for (const member of members) if (member.slot === slot) peers.set(member.publicKey, member.peer);
  const own = node.slots.find((record) => record.slot === slot);
  return {
    ...(own === undefined ? {} : { publicKey: own.publicKey }),
    listenPort: slotPort(settings, slot),
    fwmark: settings.fwmark.mark,
    peers,
  };
}

function desiredRoutes(facts: MeshFacts, parts: readonly PeerPart[]): readonly Route[] {
  const { settings, node, podIPs, capabilities = fullCapabilities } = facts;
  const routes = new RouteIndex();
  // The table of pods does not get it, because this node's own processes and the tunnel itself use that table, too.
  for (const cidr of refusedCIDRs(settings))
    routes.put(refusal(settings, settings.hostTable, cidr, "prohibit"));
  for (const part of parts) for (const route of part.routes) routes.put(route);
  for (const dst of [...node.podCIDRs, ...podIPs.map(hostPrefix)])
    for (const route of localRoutes(settings, dst)) routes.put(route);
  const list = routes.list();
  // A kernel without rules may have only one table, and our table would be the main one.
  return capabilities.routing.length === families.length
    ? list
    : list.filter(({ family }) => capabilities.routing.includes(family));
}

/** Returns the addresses of other nodes that this node itself reaches through the tunnel. */
export function tunneledHosts(facts: MeshFacts): Set<string> {
  const { node, ownership, paths, hostEncryption, capabilities = fullCapabilities } = facts;
  if (!hostEncryption) return new Set();
  const open = ownership.peers.filter((peer) => resolvePath(node, peer, paths).slot !== undefined);
  return new Set(open.flatMap(({ nodeIPs }) => nodeIPs.filter((ip) => carries(capabilities, ip))));
}
