// Which way a peer is reached: the slots that could carry its traffic, the
// endpoint that is programmed, and the path that holds. With an agent, the path
// is what it decided and the store keeps; without one the gate is off and
// traffic takes the tunnel as soon as the peer has a key. Pure.
import { familyOf } from "../net/ip.ts";
import { closedPath, type PeerPath } from "../net/path.ts";
import type { NodeRecord, Slot, SlotRecord } from "../net/record.ts";
import type { OwnedPeer } from "./claims.ts";

export const slots: readonly Slot[] = ["a", "b"];

export function otherSlot(slot: Slot): Slot {
  return slot === "a" ? "b" : "a";
}

/** The slot's record where the peer can be programmed on it: it has a key and an endpoint and is not withdrawn. */
export function usableSlot(peer: OwnedPeer, slot: Slot): SlotRecord | undefined {
  if (peer.endpoints.length === 0) return undefined;
  return peer.slots.find((record) => record.slot === slot && record.state !== "withdrawn");
}

/** The peer's endpoints that this node can reach, best first: of families that this node has, else all. */
export function endpointCandidates(node: NodeRecord, peer: OwnedPeer): readonly string[] {
  const reachable = new Set(node.endpoints.map(familyOf));
  const candidates = peer.endpoints.filter((ip) => reachable.has(familyOf(ip)));
  return candidates.length === 0 ? peer.endpoints : candidates;
}

/** True where one of the two sides wants the slot to be left. */
export function isDraining(node: NodeRecord, peer: OwnedPeer, slot: Slot): boolean {
  const drains = (record: SlotRecord) => record.slot === slot && record.state === "draining";
  return peer.slots.some(drains) || node.slots.some(drains);
}

/**
 * The slot that traffic to a peer should take: the first that neither side
 * drains. Where both drain one, slot a is left first, so that two rotations
 * that meet wait for each other in one order. Undefined for a keyless peer.
 */
export function routeSlot(node: NodeRecord, peer: OwnedPeer): Slot | undefined {
  const working = slots.filter((slot) => usableSlot(peer, slot) !== undefined);
  return working.find((slot) => !isDraining(node, peer, slot)) ?? working.at(-1);
}

/** The path that holds; `paths` is absent where no agent decides. */
export function resolvePath(
  node: NodeRecord,
  peer: OwnedPeer,
  paths: ReadonlyMap<string, PeerPath> | undefined,
): PeerPath {
  const wanted = routeSlot(node, peer);
  if (wanted === undefined) return closedPath;
  if (paths === undefined) return { ...closedPath, slot: wanted };
  const path = paths.get(peer.name) ?? closedPath;
  if (path.slot === undefined || usableSlot(peer, path.slot) !== undefined) return path;
  // The slot was withdrawn since: the ratchet holds, so the other one must do.
  return { ...path, slot: wanted };
}
