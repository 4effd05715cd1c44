// Plans probes: a handshake with an unproven node IP as the endpoint, on the slot that carries no traffic to
// the peer. While the gate is closed, this is the second slot, beside the first one on its own endpoint, so
// that a node with two addresses proves both with the handshakes that open its gate. Later it is a slot
// without a session. A slot with a session may carry the peer's packets, and is used for a new handshake only
// if the peer has just sent on the other slot. Each address has ten seconds; after a round there is a pause.
// Pure: time is an argument.
import { familyOf } from "../../net/ip.ts";
import type { PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import type { OwnedPeer } from "./model.ts";
import type { PeerObservation } from "./observation.ts";
import { endpointCandidates, isDraining, otherSlot, routeSlot, slots, usableSlot } from "./path.ts";

const tryMs = 10_000;
const restMs = 60_000;

export interface ProbeMemory {
  readonly ip: string;
  readonly sinceMs: number;
  /** Addresses that had their turn in this round. */
  readonly tried: readonly string[];
}

export interface ProbeFacts {
  readonly node: NodeRecord;
  readonly peer: OwnedPeer;
  /** The path as the gate has decided it. */
  readonly path: PeerPath;
  readonly observation: PeerObservation;
  /** The unproven node IPs. */
  readonly unprovenIPs: readonly string[];
  readonly memory?: ProbeMemory;
}

export interface Probe {
  readonly probe?: NonNullable<PeerPath["probe"]>;
  readonly memory?: ProbeMemory;
  /** The slot on whose device the peer must be removed and added again, so that there is a handshake. */
  readonly readd?: Slot;
}

const none: Probe = {};

export function planProbe(facts: ProbeFacts, nowMs: number): Probe {
  const slot = probeSlot(facts, nowMs);
  const ips = slot === undefined ? [] : candidatesOf(facts);
  if (slot === undefined || ips.length === 0) return none;
  const { memory } = facts;
  const isResting = memory !== undefined && ips.every((ip) => memory.tried.includes(ip));
  if (isResting && nowMs - memory.sinceMs < restMs) return { memory };
  const isGoing = memory !== undefined && ips.includes(memory.ip) && nowMs - memory.sinceMs < tryMs;
  if (isGoing && !memory.tried.includes(memory.ip)) return { probe: { slot, ip: memory.ip }, memory };
  const plan = begin(slot, ips, isResting ? undefined : memory, nowMs);
  const hasSession = facts.path.slot !== undefined && isFresh(facts, slot, nowMs);
  return plan.probe !== undefined && hasSession ? { ...plan, readd: slot } : plan;
}

/** True if a session on the slot may still be used, so that no handshake follows a packet. */
function isFresh({ observation }: ProbeFacts, slot: Slot, nowMs: number): boolean {
  return nowMs - (observation[slot]?.handshakeAtMs ?? Number.NEGATIVE_INFINITY) < rejectAfterMs;
}

function begin(slot: Slot, ips: readonly string[], before: ProbeMemory | undefined, nowMs: number): Probe {
  const tried = before === undefined ? [] : [...new Set([...before.tried, before.ip])];
  const ip = ips.find((one) => !tried.includes(one));
  // The last address had its turn, and the pause begins at its time.
  if (ip === undefined) return { memory: { ip: before?.ip ?? "", sinceMs: nowMs, tried } };
  return { probe: { slot, ip }, memory: { ip, sinceMs: nowMs, tried } };
}

/** Returns undefined if both slots are needed for other traffic. */
function probeSlot(facts: ProbeFacts, nowMs: number): Slot | undefined {
  const { node, peer, path, memory } = facts;
  if (path.pinned || slots.some((slot) => isDraining(node, peer, slot))) return undefined;
  const used = path.slot ?? routeSlot(node, peer);
  if (used === undefined || usableSlot(peer, otherSlot(used)) === undefined) return undefined;
  const other = otherSlot(used);
  // During a probe, the session is the one that the probe has made.
  const isTrying = memory !== undefined && nowMs - memory.sinceMs < tryMs;
  if (path.slot === undefined || isTrying || !isFresh(facts, other, nowMs)) return other;
  return sendsOn(facts, used, nowMs) && !sendsOn(facts, other, nowMs) ? other : undefined;
}

/** True if the peer has just sent on the slot; the peer itself chooses the slot that it sends on. */
function sendsOn({ observation }: ProbeFacts, slot: Slot, nowMs: number): boolean {
  return nowMs - (observation[slot]?.dataAtMs ?? Number.NEGATIVE_INFINITY) < rejectAfterMs / 3;
}

/** Lists candidates of families that this node has. The address that the first slot asks already comes last. */
function candidatesOf({ node, peer, path, unprovenIPs }: ProbeFacts): readonly string[] {
  const own = new Set([...node.endpoints, ...node.nodeIPs].map(familyOf));
  const reachable = unprovenIPs.filter((ip) => own.has(familyOf(ip)));
  if (path.slot !== undefined) return reachable;
  const endpoints = endpointCandidates(node, peer);
  const first = endpoints[path.candidate % endpoints.length];
  return reachable.filter((ip) => ip !== first);
}
