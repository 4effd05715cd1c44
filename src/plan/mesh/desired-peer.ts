// The part of one peer in the desired mesh: a peer on each device, and its routes. Thousands of peers stay as they
// are while one changes, so parts are kept. Pure.
import type { Endpoint } from "../../net/device.ts";
import { type Family, familyOf } from "../../net/ip.ts";
import type { Route } from "../../net/objects.ts";
import type { PeerPath } from "../../net/path.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { rekeyTimeoutMs } from "../../net/wireguard-timers.ts";
import type { OwnedPeer } from "../peers/model.ts";
import {
  endpointCandidates,
  hasNoPlace,
  isBarred,
  ownSlots,
  resolvePath,
  usableSlot,
} from "../peers/path.ts";
import { noneReplaced, type ReplacedEndpoints } from "../peers/replaced-endpoints.ts";
import type { Settings } from "../settings/settings.ts";
import { type Capabilities, fullCapabilities } from "./capabilities.ts";
import type { MeshPeer } from "./model.ts";
import { behind, refusal, tunnelRoute } from "./routes.ts";

const families: readonly Family[] = [4, 6];

/** The facts that the parts of all peers are made from. */
export interface PeerFacts {
  readonly settings: Settings;
  /** This node's own record; its keys are those of the two devices. */
  readonly node: NodeRecord;
  /** The path to each peer. It is absent if no agent decides; routes are then installed at once. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  /** Peers whose record the kernel has not seen yet: their endpoints are set, wherever they had roamed to. */
  readonly changedPeers: ReadonlySet<string>;
  /** The endpoints that another process has replaced, by public key. Absent if there are none. */
  readonly replacedEndpoints?: ReplacedEndpoints;
  /** True if traffic between the nodes themselves takes the tunnel too. */
  readonly hostEncryption: boolean;
  /** The parts of the mesh that the host supports. If it is absent, the host supports all of them. */
  readonly capabilities?: Capabilities;
}

export interface PeerPart {
  /** The peer on each device that it is to be on. */
  readonly members: readonly Member[];
  /** Of two routes with one key, the later one counts. */
  readonly routes: readonly Route[];
}

interface Member {
  readonly slot: Slot;
  readonly publicKey: string;
  readonly peer: MeshPeer;
}

/** A part, and what it was made from beside the facts that are common to all peers. */
interface Known {
  readonly peer: OwnedPeer;
  readonly path: PeerPath | undefined;
  readonly hasChanged: boolean;
  readonly part: PeerPart;
}

/** Keeps the parts of peers from one mesh to the next. */
export class PeerParts {
  #known: ReadonlyMap<string, Known> = new Map();
  #common: object | undefined;

  /** Returns the part of each peer, made anew only if something that it depends on is another object or value. */
  make(facts: PeerFacts, peers: readonly OwnedPeer[]): PeerPart[] {
    const common = commonOf(facts);
    const before = Bun.deepEquals(common, this.#common) ? this.#known : new Map<string, Known>();
    const known = new Map<string, Known>();
    for (const peer of peers) known.set(peer.name, keep(facts, peer, before.get(peer.name)));
    this.#common = common;
    this.#known = known;
    return Array.from(known.values(), ({ part }) => part);
  }
}

/** Endpoints that were replaced are few, and hardly ever there. */
function commonOf(facts: PeerFacts): object {
  const { settings, node, hostEncryption, capabilities, replacedEndpoints, paths } = facts;
  const isGated = paths !== undefined;
  return { settings, node, hostEncryption, capabilities, replacedEndpoints, isGated };
}

function keep(facts: PeerFacts, peer: OwnedPeer, before: Known | undefined): Known {
  const path = facts.paths?.get(peer.name);
  const hasChanged = facts.changedPeers.has(peer.name);
  if (before?.peer === peer && before.path === path && before.hasChanged === hasChanged) return before;
  return { peer, path, hasChanged, part: makePart(facts, peer) };
}

/** Returns the node's own address in each family: the source of packets that it sends to remote pods. */
export function nodeAddresses(node: NodeRecord): string[] {
  return families.flatMap((family) => node.nodeIPs.find((ip) => familyOf(ip) === family) ?? []);
}

/** True if our devices can carry packets to the address or prefix. */
export function carries({ tunnel }: Capabilities, dst: string): boolean {
  return tunnel.length === families.length || tunnel.includes(familyOf(dst));
}

export function makePart(facts: PeerFacts, peer: OwnedPeer): PeerPart {
  const path = resolvePath(facts.node, peer, facts.paths);
  const hosts = peer.nodeIPs.map(hostPrefix);
  return { members: makeMembers(facts, peer, path, hosts), routes: makeRoutes(facts, peer, path, hosts) };
}

/** `hosts`: its node IPs as prefixes. */
function makeMembers(facts: PeerFacts, peer: OwnedPeer, path: PeerPath, hosts: readonly string[]): Member[] {
  const { settings, node, paths } = facts;
  if (paths === undefined && hasNoPlace(peer)) return [];
  // The peer may open its gate a moment earlier than this node, and send from addresses that no handshake has proven yet.
  const early = (path.slot === undefined ? peer.earlyIPs : peer.sourceIPs) ?? [];
  const allowedIPs = unique([...peer.podCIDRs, ...hosts, ...early.map(hostPrefix)]);
  return ownSlots(node).flatMap((slot) => {
    const record = usableSlot(peer, slot);
    if (record === undefined) return [];
    const { publicKey, port } = record;
    const member: MeshPeer = {
      ...endpointOf(facts, peer, path, { slot, publicKey, port }),
      keepaliveSeconds: path.initiate.includes(slot) ? initiateSeconds : settings.persistentKeepalive,
      hasPresharedKey: false,
      allowedIPs,
      lastHandshakeMs: 0,
      isOpen: paths !== undefined && path.slot === slot,
    };
    return [{ slot, publicKey, peer: member }];
  });
}

/** Without an endpoint here, the kernel keeps the one that it has, and learns another from the peer's packets. */
function endpointOf(
  { node, changedPeers, replacedEndpoints = noneReplaced }: PeerFacts,
  peer: OwnedPeer,
  path: PeerPath,
  { slot, publicKey, port }: { readonly slot: Slot; readonly publicKey: string; readonly port: number },
): { readonly endpoint?: Endpoint; readonly mayRoam: boolean } {
  const candidates = endpointCandidates(node, peer);
  const ip = path.probe?.slot === slot ? path.probe.ip : candidates[path.candidate % candidates.length];
  const mayKeep = !path.pinned && !changedPeers.has(peer.name);
  const replaced = mayKeep ? replacedEndpoints.get(publicKey) : undefined;
  const endpoint = replaced ?? (ip === undefined ? undefined : { ip, port });
  return { ...(endpoint === undefined ? {} : { endpoint }), mayRoam: mayKeep && replaced === undefined };
}

/** Most peers have a handful of prefixes, for which a set costs more than it saves. */
function unique(prefixes: readonly string[]): readonly string[] {
  if (prefixes.length > 8) return [...new Set(prefixes)];
  return prefixes.filter((prefix, i) => prefixes.indexOf(prefix) === i);
}

/** WireGuard itself repeats a handshake as often, and sends at once when a keepalive is set. */
const initiateSeconds = rekeyTimeoutMs / 1000;

/** `hosts`: its node IPs as prefixes. */
function makeRoutes(facts: PeerFacts, peer: OwnedPeer, path: PeerPath, hosts: readonly string[]): Route[] {
  const { settings, node, hostEncryption, paths, capabilities = fullCapabilities } = facts;
  const { podTable, hostTable } = settings;
  const strict = settings.mode === "strict";
  const isRefused = strict || isBarred(peer, paths);
  const sources = nodeAddresses(node);
  const sourceOf = (dst: string) => sources.find((ip) => familyOf(ip) === familyOf(dst));
  const slotFor = (dst: string) => (carries(capabilities, dst) ? path.slot : undefined);
  const routes: Route[] = [];
  // If a device is deleted, its routes go with it, and these routes behind them apply.
  const putTunnel = (route: Route) => {
    routes.push(route);
    if (strict) routes.push(behind(settings, route));
  };
  for (const cidr of peer.podCIDRs) {
    const slot = slotFor(cidr);
    if (slot === undefined) routes.push(refusal(settings, podTable, cidr, isRefused ? "prohibit" : "throw"));
    else putTunnel(tunnelRoute(settings, podTable, cidr, slot, sourceOf(cidr)));
  }
  for (const ip of peer.barredIPs ?? [])
    routes.push(refusal(settings, hostTable, hostPrefix(ip), "prohibit"));
  for (const dst of hosts) {
    const slot = slotFor(dst);
    if (slot !== undefined) putTunnel(tunnelRoute(settings, hostTable, dst, slot));
    else if (isRefused) routes.push(refusal(settings, hostTable, dst, "prohibit"));
    // No refusing route stands behind this one, not even in strict mode: if a device is lost, it would apply
    // before the rules that keep the control plane outside, and cut the node off from it.
    if (slot !== undefined && hostEncryption)
      routes.push(tunnelRoute(settings, podTable, dst, slot, sourceOf(dst)));
  }
  return routes;
}
