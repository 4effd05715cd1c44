// The mesh as it should be: from the node's identity, settings and peers to
// devices, addresses, sysctls, routes and rules. Pure, and the only place that
// knows the data plane's shape (design, "Data plane"):
//
//   97   fwmark M/M goto 100          encrypted packets skip our tables
//   98   not iif lo lookup hosts      what pods send to remote hosts
//   99   not fwmark M/M lookup pods   what anyone here sends to remote pods
//   100  nop
import type { Endpoint } from "../net/device.ts";
import { type Family, familyOf } from "../net/ip.ts";
import type { NftTable } from "../net/nftables.ts";
import type { Address, Route, Rule } from "../net/objects.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { NodeRecord, Slot, SlotRecord } from "../net/record.ts";
import type { OwnedPeer, Ownership } from "./claims.ts";
import { firewallTable, type RemotePods } from "./firewall.ts";
import { type Settings, slotDevice, slotPort } from "./settings.ts";

export const slots: readonly Slot[] = ["a", "b"];
const families: readonly Family[] = [4, 6];

/** Bytes a tunnel packet adds: outer IP and UDP headers, WireGuard's header and tag. */
export const overheadBytes: Record<Family, number> = { 4: 60, 6: 80 };
/** Of strict mode's refusals: behind the tunnel's routes, which have 0 (IPv4) and 1024 (IPv6). */
const behindPriority = 0x7fff_ffff;
/** Below this IPv6 does not work at all (RFC 8200, 5). */
export const ipv6MinimumMtu = 1280;

/** What the kernel should be, or is: desired and observed have one shape, so that they can be compared. */
export interface Mesh {
  readonly links: ReadonlyMap<string, MeshLink>;
  readonly devices: ReadonlyMap<string, MeshDevice>;
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** Path below /proc/sys and value; only those we care for. */
  readonly sysctls: ReadonlyMap<string, string>;
  /** Our nftables table; absent where there is none, or the kernel has no nftables. */
  readonly firewall?: NftTable;
}

export interface MeshLink {
  readonly kind: string;
  readonly mtu: number;
  readonly up: boolean;
}

export interface MeshDevice {
  /** Absent where the device has none (observed only). */
  readonly publicKey?: string;
  readonly listenPort: number;
  readonly fwmark: number;
  /** By public key. */
  readonly peers: ReadonlyMap<string, MeshPeer>;
}

export interface MeshPeer {
  readonly endpoint?: Endpoint;
  readonly keepaliveSeconds: number;
  readonly hasPresharedKey: boolean;
  readonly allowedIPs: readonly string[];
  /** Unix milliseconds; 0 is never. Observed only. */
  readonly lastHandshakeMs: number;
}

export interface MeshFacts {
  readonly settings: Settings;
  /** This node's own record; its keys are those of the two devices. */
  readonly node: NodeRecord;
  readonly ownership: Ownership;
  /** Addresses of pods on this node. */
  readonly podIPs: readonly string[];
  /** "wireguard", or "tun" where a userspace implementation holds the device. */
  readonly linkKind: "wireguard" | "tun";
  /** MTU of the WireGuard devices in bytes. */
  readonly mtu: number;
  /** False where the kernel has no nftables: encryption works without, but nothing counts what is in clear. */
  readonly hasFirewall: boolean;
}

/** The whole desired state of a node that is up. */
export function desiredMesh(facts: MeshFacts): Mesh {
  const { settings, node } = facts;
  const link = { kind: facts.linkKind, mtu: facts.mtu, up: true };
  const names = slots.map((slot) => slotDevice(settings, slot));
  return {
    links: new Map(names.map((name) => [name, link])),
    devices: new Map(slots.map((slot) => [slotDevice(settings, slot), desiredDevice(facts, slot)])),
    addresses: names.flatMap((dev) => nodeAddresses(node).map((ip) => deviceAddress(dev, ip))),
    routes: desiredRoutes(facts),
    rules: families.flatMap((family) => desiredRules(settings, family)),
    sysctls: new Map([
      // The reverse-path check of a marked packet must use the mark, or one-sided phases drop packets.
      [validMarkSysctl, "1"],
      ...names.map((name) => [`net/ipv4/conf/${name}/rp_filter`, "2"] as const),
    ]),
    ...(facts.hasFirewall ? { firewall: desiredFirewall(facts) } : {}),
  };
}

/** Name of our nftables table, of the inet family. */
export const firewallName = "wg-cni";

function desiredFirewall({ settings, ownership: { peers } }: MeshFacts): NftTable {
  return firewallTable({
    table: firewallName,
    devices: slots.map((slot) => slotDevice(settings, slot)),
    mark: settings.fwmark,
    strict: settings.mode === "strict",
    pods: remotePods(peers),
    nodes: peers.flatMap((peer) => peer.nodeIPs),
  });
}

/** All pod CIDRs of other nodes, with whose they are. */
export function remotePods(peers: readonly OwnedPeer[]): RemotePods[] {
  return peers.flatMap(({ name, podCIDRs }) => podCIDRs.map((prefix) => ({ prefix, peer: name })));
}

/** The one sysctl of the whole node that we change. */
export const validMarkSysctl = "net/ipv4/conf/all/src_valid_mark";

/** What is left when we are gone: nothing. */
export const emptyMesh: Mesh = {
  links: new Map(),
  devices: new Map(),
  addresses: [],
  routes: [],
  rules: [],
  sysctls: new Map(),
};

/** The node's own address in each family: the source of what it sends to remote pods. */
export function nodeAddresses(node: NodeRecord): string[] {
  return families.flatMap((family) => node.nodeIPs.find((ip) => familyOf(ip) === family) ?? []);
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

/** The rules of one family, in the order of their priorities. */
export function desiredRules(settings: Settings, family: Family): Rule[] {
  const { rulePriority: first, fwmark, routeProtocol: protocol } = settings;
  const rule = { family, protocol, invert: false };
  return [
    { ...rule, priority: first, action: "goto", target: first + 3, fwmark },
    { ...rule, priority: first + 1, action: "lookup", table: settings.hostTable, invert: true, iif: "lo" },
    { ...rule, priority: first + 2, action: "lookup", table: settings.podTable, invert: true, fwmark },
    { ...rule, priority: first + 3, action: "nop" },
  ];
}

function desiredDevice(facts: MeshFacts, slot: Slot): MeshDevice {
  const { settings, node } = facts;
  const peers = new Map<string, MeshPeer>();
  for (const peer of facts.ownership.peers) {
    const record = usableSlot(peer, slot);
    if (record === undefined) continue;
    peers.set(record.publicKey, {
      endpoint: { ip: peerEndpoint(node, peer) as string, port: record.port },
      keepaliveSeconds: settings.persistentKeepalive,
      hasPresharedKey: false,
      allowedIPs: [...new Set([...peer.podCIDRs, ...peer.nodeIPs.map(hostPrefix)])],
      lastHandshakeMs: 0,
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

/** A peer's endpoint that this node can reach: its first of a family that this node has, else its first. */
function peerEndpoint(node: NodeRecord, peer: OwnedPeer): string | undefined {
  const reachable = new Set(node.endpoints.map(familyOf));
  return peer.endpoints.find((ip) => reachable.has(familyOf(ip))) ?? peer.endpoints[0];
}

/** The slot's record where the peer can be programmed on it: it has a key and an endpoint and is not withdrawn. */
function usableSlot(peer: OwnedPeer, slot: Slot): SlotRecord | undefined {
  if (peer.endpoints.length === 0) return undefined;
  return peer.slots.find((record) => record.slot === slot && record.state !== "withdrawn");
}

/**
 * The slot that traffic to a peer takes: the first that is active on both
 * sides, else the first that works at all; undefined for a keyless peer.
 */
export function routeSlot(node: NodeRecord, peer: OwnedPeer): Slot | undefined {
  const working = slots.filter((slot) => usableSlot(peer, slot) !== undefined);
  const draining = (records: readonly SlotRecord[], slot: Slot) =>
    records.some((record) => record.slot === slot && record.state === "draining");
  return working.find((slot) => !draining(peer.slots, slot) && !draining(node.slots, slot)) ?? working[0];
}

function desiredRoutes(facts: MeshFacts): Route[] {
  const { settings, node, ownership } = facts;
  const strict = settings.mode === "strict";
  const routes = new Map<string, Route>();
  const put = (route: Route) => routes.set(`${route.table} ${route.dst}`, route);
  // A device that goes takes its routes along; what is behind them then answers.
  const putTunnel = (route: Route) => {
    put(route);
    if (!strict) return;
    const { table, dst } = route;
    const behind = refusal(settings, table, dst, "prohibit");
    routes.set(`${table} ${dst} behind`, { ...behind, priority: behindPriority });
  };
  if (strict)
    for (const cidr of settings.clusterCIDRs) put(refusal(settings, settings.podTable, cidr, "prohibit"));
  const sources = new Map(nodeAddresses(node).map((ip) => [familyOf(ip), ip]));
  for (const peer of ownership.peers) {
    const slot = routeSlot(node, peer);
    for (const cidr of peer.podCIDRs) {
      if (slot === undefined) put(refusal(settings, settings.podTable, cidr, strict ? "prohibit" : "throw"));
      else putTunnel(tunnelRoute(settings, settings.podTable, cidr, slot, sources.get(familyOf(cidr))));
    }
    for (const ip of peer.nodeIPs) {
      if (slot !== undefined) putTunnel(tunnelRoute(settings, settings.hostTable, hostPrefix(ip), slot));
      else if (strict) put(refusal(settings, settings.hostTable, hostPrefix(ip), "prohibit"));
    }
  }
  for (const dst of [...node.podCIDRs, ...facts.podIPs.map(hostPrefix)]) put(localRoute(settings, dst));
  return [...routes.values()];
}

/** What a pod of this node gets: its address is looked up in the main table, wherever a wider prefix points. */
export function localRoute(settings: Settings, dst: string): Route {
  return refusal(settings, settings.podTable, dst, "throw");
}

function tunnelRoute(settings: Settings, table: number, dst: string, slot: Slot, src?: string): Route {
  return {
    ...routeBase(settings, table, dst),
    type: "unicast",
    dev: slotDevice(settings, slot),
    scope: familyOf(dst) === 4 ? "link" : "global",
    ...(src === undefined ? {} : { src }),
  };
}

function refusal(settings: Settings, table: number, dst: string, type: "throw" | "prohibit"): Route {
  return { ...routeBase(settings, table, dst), type, scope: "global" };
}

function routeBase(settings: Settings, table: number, dst: string) {
  const family = familyOf(dst);
  // The kernel gives an IPv6 route without a metric 1024 (IP6_RT_PRIO_USER).
  return {
    family,
    table,
    dst,
    protocol: settings.routeProtocol,
    ...(family === 6 ? { priority: 1024 } : {}),
  };
}

/**
 * MTU of the WireGuard devices: what is left of the uplink's after the tunnel's
 * headers, and never less than IPv6 needs where it is in use.
 */
export function deriveMtu(
  settings: Settings,
  node: NodeRecord,
  peers: readonly OwnedPeer[],
  uplinkMtu: number,
): number {
  if (settings.mtu !== 0) return settings.mtu;
  const endpoints = [...node.endpoints, ...peers.flatMap((peer) => peer.endpoints)];
  const outer: Family = endpoints.some((ip) => familyOf(ip) === 6) ? 6 : 4;
  const usesIpv6 = outer === 6 || [...node.nodeIPs, ...node.podCIDRs].some((text) => familyOf(text) === 6);
  const mtu = uplinkMtu - overheadBytes[outer];
  return usesIpv6 ? Math.max(mtu, ipv6MinimumMtu) : mtu;
}
