// Resolves the path to a peer: the slots that could carry its traffic, the endpoint to program, and the
// chosen slot. With an agent, the path is the one that the agent decided and the store has. Without an
// agent the gate is off, and traffic takes the tunnel as soon as the peer has a key. Pure.
import { familyOf } from "../../net/ip.ts";
import { closedPath, type PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot, SlotRecord } from "../../net/record.ts";
import type { OwnedPeer } from "./model.ts";

export const slots: readonly Slot[] = ["a", "b"];

/** Makes a path on the slot for a peer that nothing else is known of. */
const openPaths: Readonly<Record<Slot, PeerPath>> = {
  a: { ...closedPath, slot: "a" },
  b: { ...closedPath, slot: "b" },
};

/** Returns the slots that a node has a device for: all but those that its record withdraws. */
export function ownSlots(node: Pick<NodeRecord, "slots">): Slot[] {
  return slots.filter((slot) => node.slots.find((own) => own.slot === slot)?.state !== "withdrawn");
}

/**
 * Returns the peers as this node can reach them: it reaches none on a slot that it cannot use. `published`: this node's
 * record as the peers have it, which may still offer slots.
 */
export function reachablePeers(
  node: Pick<NodeRecord, "slots">,
  peers: readonly OwnedPeer[],
  published: Pick<NodeRecord, "slots">,
): readonly OwnedPeer[] {
  const own = ownSlots(node);
  if (own.length === slots.length) return peers;
  const isMissed = own.length === 0 && ownSlots(published).length > 0;
  const withdraw = (record: SlotRecord): SlotRecord =>
    own.includes(record.slot) ? record : { ...record, state: "withdrawn" };
  return peers.map((peer) => ({
    ...{ ...peer, slots: peer.slots.map(withdraw) },
    ...(isMissed && !isKeyless(peer) ? { waitsForSlot: true as const } : {}),
  }));
}

export function otherSlot(slot: Slot): Slot {
  return slot === "a" ? "b" : "a";
}

/** Returns the public key of a node's slot; undefined if it has none there, or there is no slot. */
export function keyOf({ slots }: Pick<NodeRecord, "slots">, slot: Slot | undefined): string | undefined {
  return slots.find((record) => record.slot === slot)?.publicKey;
}

/**
 * Returns the slot's record if the peer can be programmed on it: it has a key and is not withdrawn. A peer
 * without an endpoint that this node could send to is programmed too: it may begin the handshake.
 */
export function usableSlot(peer: OwnedPeer, slot: Slot): SlotRecord | undefined {
  return peer.slots.find((record) => record.slot === slot && record.state !== "withdrawn");
}

/**
 * True if the peer's own record says that it has no key. Nothing else undoes the ratchet: a key that
 * is refused because another node had it first is still a key.
 */
export function isKeyless(peer: OwnedPeer): boolean {
  if (peer.refusedSlots !== undefined || peer.waitsForSlot === true) return false;
  return slots.every((slot) => usableSlot(peer, slot) === undefined);
}

/** Returns the peer's endpoints that this node can reach, best first: those of families that this node has, else all. */
export function endpointCandidates(node: NodeRecord, peer: OwnedPeer): readonly string[] {
  const isReachable = (ip: string) => node.endpoints.some((own) => familyOf(own) === familyOf(ip));
  if (peer.endpoints.every(isReachable)) return peer.endpoints;
  const candidates = peer.endpoints.filter(isReachable);
  return candidates.length === 0 ? peer.endpoints : candidates;
}

/** True if one of the two sides drains the slot. */
export function isDraining(node: NodeRecord, peer: OwnedPeer, slot: Slot): boolean {
  const drains = (record: SlotRecord) => record.slot === slot && record.state === "draining";
  return peer.slots.some(drains) || node.slots.some(drains);
}

/**
 * Returns the slot that traffic to a peer should take: the first one that neither side drains. If each side
 * drains one, slot a is left first, so that two rotations that meet wait for each other in one order.
 * Returns undefined if no key of the peer can be used.
 */
export function routeSlot(node: NodeRecord, peer: OwnedPeer): Slot | undefined {
  let last: Slot | undefined;
  for (const slot of slots) {
    if (usableSlot(peer, slot) === undefined) continue;
    if (!isDraining(node, peer, slot)) return slot;
    last = slot;
  }
  return last;
}

/** Returns the path of a peer; `paths` is absent if no agent decides. */
export function resolvePath(
  node: NodeRecord,
  peer: OwnedPeer,
  paths: ReadonlyMap<string, PeerPath> | undefined,
): PeerPath {
  const wanted = routeSlot(node, peer);
  if (wanted === undefined) return closedPath;
  if (paths === undefined) return hasNoPlace(peer) ? closedPath : openPaths[wanted];
  const path = paths.get(peer.name) ?? closedPath;
  if (path.slot === undefined || usableSlot(peer, path.slot) !== undefined) return path;
  // The slot was withdrawn since: the ratchet holds, so the other one must do.
  return { ...path, slot: wanted };
}

/** True if its record names no endpoint at all. Without an agent, nothing is promised of such a peer. */
export function hasNoPlace({ endpoints, endpointsRefused }: OwnedPeer): boolean {
  return endpoints.length === 0 && endpointsRefused !== true;
}

/**
 * True if traffic to the peer is refused, in permissive mode, too: it was in the tunnel, and all keys of the
 * peer are another node's now, or this node has lost both its slots. Without an agent it is not known which traffic
 * was in the tunnel.
 */
export function isBarred(peer: OwnedPeer, paths: ReadonlyMap<string, PeerPath> | undefined): boolean {
  if (isKeyless(peer) || slots.some((slot) => usableSlot(peer, slot) !== undefined)) return false;
  return paths?.get(peer.name)?.slot !== undefined;
}
