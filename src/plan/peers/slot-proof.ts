// Plans a handshake on a slot on which none has ever succeeded, while the other slot carries the traffic (or
// the mode is off): the gate opens with the first handshake, on either slot, and a rotation or a recovery
// that needs the other slot later must not be the first to find that its port is closed. Pure.
import type { PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { mayInitiate } from "./gate-conditions.ts";
import { unansweredMs } from "./gate-timers.ts";
import type { OwnedPeer } from "./model.ts";
import { isDraining, ownSlots, slots, usableSlot } from "./path.ts";

/** A try takes as long as the gate gives a peer to answer. */
const tryMs = unansweredMs;
const pauseMs = 60_000;
/** Later tries are rare, because both nodes of thousands of pairs make them. */
const laterPauseMs = 600_000;

export interface SlotProofFacts {
  readonly node: NodeRecord;
  readonly peer: OwnedPeer;
  /** As the gate has decided. */
  readonly path: PeerPath;
  /** True if no handshake with the peer has ever succeeded on the slot. */
  readonly lacksHandshake: (slot: Slot) => boolean;
  /** When the gate left the slot without a handshake. */
  readonly sinceMs: number;
}

/** Returns the slot to initiate on now; undefined if there is none, or a pause. */
export function slotToProve(facts: SlotProofFacts, nowMs: number): Slot | undefined {
  const slot = findUnproven(facts);
  if (slot === undefined) return undefined;
  const { node, peer, sinceMs } = facts;
  const ageMs = nowMs - sinceMs;
  const isTime = ageMs % (ageMs < laterPauseMs ? pauseMs : laterPauseMs) < tryMs;
  return isTime && mayInitiate({ node, peer, nowMs }, slot, sinceMs) ? slot : undefined;
}

/** Returns the slot that lacks a handshake and carries nothing. */
export function findUnproven({
  node,
  peer,
  path,
  lacksHandshake,
}: Omit<SlotProofFacts, "sinceMs">): Slot | undefined {
  if (path.pinned || slots.some((slot) => isDraining(node, peer, slot))) return undefined;
  const pair = ownSlots(node).filter((slot) => usableSlot(peer, slot) !== undefined);
  const unproven = pair.filter(lacksHandshake);
  // Without a handshake on any slot, the gate itself makes them on both.
  return unproven.length === pair.length ? undefined : unproven.find((slot) => slot !== path.slot);
}
