// Rotates this node's keys without a lost packet: all nodes leave one slot, the slot gets a new key, and
// then the other slot follows. Pure: time and observations are arguments. The progress is in the store
// alone (the remaining slots, the draining one), so a rotation continues after a crash at any point; only
// the time of the present wait begins anew.
//
//   scheduled
//       │ the keys are due, or a command
//   a is next
//       │ no peer drains b *
//   a drains
//       │ no node uses a any more *: a new key
//   b is next
//       │ at once
//   b drains
//       │ no node uses b any more *: a new key
//   scheduled                                    * or the wait took too long
//
// Nodes may rotate at the same time. If one drains a and the other b, their traffic takes b (routeSlot).
// So a node that drains a waits for no peer, and one that drains b waits for the peers that drain a: there
// is no circle. A node must not move onto a slot whose owner may replace its key at any moment, so no node
// begins to drain a while a peer drains b.

import type { PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot, SlotState } from "../../net/record.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import type { OwnedPeer } from "../peers/model.ts";
import type { Clocks, PeerObservation, PeerObservations } from "../peers/observation.ts";
import { otherSlot, resolvePath, routeSlot, slots, usableSlot } from "../peers/path.ts";
import { isAnnounced, type Settings } from "../settings/settings.ts";
import { chooseRotationTime } from "./rotation-time.ts";

/** If nothing came for this long, packets in flight have arrived; the pauses of a stream are shorter. */
const unusedMs = 3000;
/**
 * An idle peer does not show that it has read the new record, and could begin to send on the slot after
 * the key is gone. After this time it has the record: publication takes a second or two, and a peer
 * reconciles at once.
 */
const minDrainMs = 10_000;
/** The devices are read this often while a slot drains. */
const passMs = 1000;
/** The wait between passes if nothing is due: the agent reconciles every minute anyway. */
const longestSleepMs = 60_000;

interface OwnKey {
  readonly slot: Slot;
  readonly state: SlotState;
  readonly createdAtMs: number;
  /** Present if the slot cannot be used. */
  readonly fault?: object;
}

/** The facts about this node. */
export interface RotationFacts {
  readonly name: string;
  readonly up: boolean;
  readonly keys: readonly OwnKey[];
  /** The present rotation, as stored. */
  readonly rotation?: { readonly remaining: readonly Slot[] };
  readonly settings: Pick<Settings, "keyRotation" | "drainTimeout" | "recordsDir" | "kubeconfig">;
}

/** The facts about the peers. */
export interface RotationContext {
  /** This node's own record, as it is in the store. */
  readonly node: NodeRecord;
  readonly peers: readonly OwnedPeer[];
  /** Absent if no agent decides. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  readonly observations: PeerObservations;
  /** True if other nodes can read `node` by now. */
  readonly isPublished: boolean;
}

export type RotationState =
  /** No rotation is running or planned, for `reason`. */
  | { readonly phase: "off"; readonly reason: string }
  /** `nextAtMs`: Unix milliseconds. */
  | { readonly phase: "scheduled"; readonly nextAtMs: number }
  /** `slot` is next; `held`: the rotation does not continue, for `reason`. */
  | { readonly phase: "next" | "draining"; readonly slot: Slot }
  | { readonly phase: "held"; readonly slot: Slot; readonly reason: string };

/** The starts of the present waits; they need not survive a restart. */
export interface RotationMemory {
  readonly phase: "next" | "draining";
  readonly slot: Slot;
  readonly sinceMs: number;
  /** The time at which our own traffic to a peer was last on the slot: its route moves only after the pass that decides it. */
  readonly ownAtMs: number;
}

/** The change that the caller commits next. */
export type RotationChange =
  | { readonly do: "begin" }
  | { readonly do: "drain"; readonly slot: Slot }
  /** `undrained`: peers that may lose packets, because the wait for them was long enough. */
  | { readonly do: "rekey"; readonly slot: Slot; readonly undrained: readonly string[] };

export interface RotationPlan {
  readonly state: RotationState;
  /** Names of peers, sorted. */
  readonly waitingFor: readonly string[];
  readonly change?: RotationChange;
  readonly memory?: RotationMemory;
  /** The time of the next pass; absent if a pass makes no difference. */
  readonly wakeInMs?: number;
}

/** Describes the progress of a rotation from the store alone. */
export function describeRotation(facts: RotationFacts, wallMs: number): RotationState {
  const { name, keys, rotation, settings } = facts;
  const obstacle = explainObstacle(facts);
  const slot = rotation?.remaining[0];
  if (slot !== undefined) {
    if (obstacle !== undefined) return { phase: "held", slot, reason: obstacle };
    const drains = keys.some((key) => key.slot === slot && key.state === "draining");
    return { phase: drains ? "draining" : "next", slot };
  }
  if (settings.keyRotation === 0) return { phase: "off", reason: "keyRotation is off" };
  if (obstacle !== undefined) return { phase: "off", reason: obstacle };
  return { phase: "scheduled", nextAtMs: chooseRotationTime(name, keys, settings.keyRotation, wallMs) };
}

/** The reason why peers would not receive new keys. */
function explainObstacle({ up, settings, keys }: RotationFacts): string | undefined {
  if (!up) return "the node is down";
  const lost = keys.find(({ fault }) => fault !== undefined);
  if (lost !== undefined) return `slot ${lost.slot} cannot be used, so traffic could not leave the other one`;
  if (!isAnnounced(settings))
    return "peers would not learn new keys, since neither recordsDir nor kubeconfig is set";
  return undefined;
}

/** Decides for one pass: the next change, or the peers that the rotation waits for. */
export function planRotation(
  facts: RotationFacts,
  context: RotationContext,
  before: RotationMemory | undefined,
  clocks: Clocks,
): RotationPlan {
  const state = describeRotation(facts, clocks.wallMs);
  switch (state.phase) {
    case "off":
    case "held":
      return { state, waitingFor: [] };
    case "scheduled": {
      const leftMs = state.nextAtMs - clocks.wallMs;
      if (leftMs <= 0) return { state, waitingFor: [], change: { do: "begin" } };
      return { state, waitingFor: [], ...(leftMs < longestSleepMs ? { wakeInMs: leftMs } : {}) };
    }
    case "next":
    case "draining": {
      const same = before?.phase === state.phase && before.slot === state.slot;
      const fresh = { phase: state.phase, slot: state.slot, sinceMs: clocks.nowMs, ownAtMs: clocks.nowMs };
      const wait = { facts, context: context, state, memory: same ? before : fresh, nowMs: clocks.nowMs };
      return state.phase === "next" ? planStart(wait) : planRekey(wait);
    }
  }
}

interface Wait {
  readonly facts: RotationFacts;
  readonly context: RotationContext;
  readonly state: RotationState & { readonly slot: Slot };
  readonly memory: RotationMemory;
  readonly nowMs: number;
}

/** Plans the time before a slot drains. Peers that are stuck are waited for as long as they may be stuck themselves. */
function planStart({ facts, context, state, memory, nowMs }: Wait): RotationPlan {
  const { slot } = state;
  const other = otherSlot(slot);
  const isFirst = slot === slots[0];
  const meeting = context.peers.filter(
    (peer) => isFirst && drains(peer, other) && !isSilent(context.observations.get(peer.name), nowMs),
  );
  const isOver = nowMs - memory.sinceMs >= longestWaitMs(facts, true);
  if (meeting.length === 0 || isOver) return { state, waitingFor: [], change: { do: "drain", slot } };
  return { state, waitingFor: namesOf(meeting), memory, wakeInMs: passMs };
}

/** Plans the time while a slot drains, which counts from the moment at which peers can read the record. */
function planRekey({ facts, context, state, memory, nowMs }: Wait): RotationPlan {
  const { slot } = state;
  if (!context.isPublished) return { state, waitingFor: [], wakeInMs: passMs };
  const other = otherSlot(slot);
  const users = context.peers.filter((peer) => usesSlot(context, peer, slot, nowMs));
  const waitedMs = nowMs - memory.sinceMs;
  const waitingFor = users.filter((peer) => waitedMs < longestWaitMs(facts, drains(peer, other)));
  const isOwn = waitingFor.some((peer) => isUsedByUs(context, peer, slot));
  const seen = isOwn ? { ...memory, ownAtMs: nowMs } : memory;
  const isUnused = waitingFor.length === 0 && nowMs - seen.ownAtMs >= unusedMs;
  if (isUnused && waitedMs >= minDrainMs)
    return { state, waitingFor: [], change: { do: "rekey", slot, undrained: namesOf(users) } };
  return { state, waitingFor: namesOf(waitingFor), memory: seen, wakeInMs: passMs };
}

/** Returns the longest wait for a peer. A peer that drains the other slot leaves this one after that, which takes it as long. */
function longestWaitMs({ settings }: RotationFacts, isMeeting: boolean): number {
  return (isMeeting ? 2 : 1) * settings.drainTimeout * 1000;
}

/** True if a packet between us and the peer may still take the slot. */
function usesSlot(context: RotationContext, peer: OwnedPeer, slot: Slot, nowMs: number): boolean {
  if (usableSlot(peer, slot) === undefined) return false;
  const observation = context.observations.get(peer.name);
  const seen = observation?.[slot];
  // The device could not be read, or does not have the peer yet.
  if (seen === undefined) return true;
  if (isSilent(observation, nowMs)) return false;
  return isUsedByUs(context, peer, slot) || isRecent(seen.dataAtMs, unusedMs, nowMs);
}

/** True if our own traffic to the peer is on the slot, or belongs there because the peer drains the other one. */
function isUsedByUs({ node, paths }: RotationContext, peer: OwnedPeer, slot: Slot): boolean {
  return resolvePath(node, peer, paths).slot === slot || routeSlot(node, peer) === slot;
}

/** True if neither a handshake nor anything else came for longer than a session lasts: then nothing can be lost. */
function isSilent(observation: PeerObservation | undefined, nowMs: number): boolean {
  return slots.every((slot) => {
    const { handshakeAtMs, heardAtMs } = observation?.[slot] ?? {};
    return !isRecent(handshakeAtMs, rejectAfterMs, nowMs) && !isRecent(heardAtMs, rejectAfterMs, nowMs);
  });
}

function isRecent(atMs: number | undefined, spanMs: number, nowMs: number): boolean {
  return atMs !== undefined && nowMs - atMs < spanMs;
}

function drains(peer: OwnedPeer, slot: Slot): boolean {
  return usableSlot(peer, slot)?.state === "draining";
}

function namesOf(peers: readonly OwnedPeer[]): string[] {
  return peers.map(({ name }) => name);
}
