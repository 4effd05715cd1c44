// Judges whether two nodes can begin handshakes with each other on both of their ports, by what the kernel
// of this node shows. Pure: time is an argument.
//
//   fact                                  the kernel's                       shows
//   ────────────────────────────────────  ─────────────────────────────────  ──────────────────────────────────
//   a handshake on the slot               device: time of the handshake      packets pass in both directions
//   a port check of the peer arrived      nftables: counter of its address   the peer's initiations pass to this
//                                                                            node, whatever a firewall remembers
//
// The other direction is seen by the peer, which reports it itself. A handshake keeps counting after the
// keys of the slot change, because it is about the way and not about the keys. A port check counts until no
// other one has come for a while, although the peer is alive: a peer that is down says nothing of ports.
import { familyOf } from "../../net/ip.ts";
import type { NftCounter } from "../../net/nftables.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import { checkSet } from "../firewall/port-checks.ts";
import type { OwnedPeer } from "../peers/model.ts";
import type { PeerObservation, PeerObservations } from "../peers/observation.ts";
import { ownSlots, slots, usableSlot } from "../peers/path.ts";
import { type Settings, slotPort } from "../settings/settings.ts";

/** The evidence about one slot of a peer. */
export interface SlotEvidence {
  readonly hadHandshake: boolean;
  /** Port checks as counted at the last reading. */
  readonly checks: number;
  /** When one was last seen to have arrived, on the clock that only goes forward. */
  readonly arrivedAtMs?: number;
}

export interface PortEvidence extends Readonly<Partial<Record<Slot, SlotEvidence>>> {
  /** Endpoints and ports of the peer: evidence about others does not count. */
  readonly place: string;
  /** When this process first knew of the peer at this place. */
  readonly knownMs: number;
  /** When this process first knew of a handshake with the peer at this place; absent before. */
  readonly sinceMs?: number;
}

/** The key is the peer's name. */
export type PortEvidences = ReadonlyMap<string, PortEvidence>;

export interface PortContext {
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly peers: readonly OwnedPeer[];
  readonly observations: PeerObservations;
  /** On the clock that only goes forward. */
  readonly nowMs: number;
}

/** Set -> element -> counter. */
export type CheckCounters = ReadonlyMap<string, ReadonlyMap<string, NftCounter>>;

/** A port on which a pair of nodes is not known to work. */
export interface PortGap {
  readonly peer: string;
  /** UDP port: of the peer for a handshake, of this node for what the peer begins. */
  readonly port: number;
  /** "both": no handshake ever succeeded on it. "in": no port check of the peer arrives. */
  readonly direction: "both" | "in";
  /** True if this was so for longer than new pairs take to show the contrary. */
  readonly isLasting: boolean;
}

/** The first port checks of a peer have been sent by then, and the first try of a handshake is over. */
const lastingMs = 45_000;

/** Time between two port checks for each peer: one a minute, and in large clusters fewer. */
export function checkPeriodMs(peers: number): number {
  return Math.min(300_000, Math.max(60_000, 60 * peers));
}

/**
 * A node that joins has this long until it counts as a gap: in a cluster of thousands, nearly all nodes would
 * otherwise report it twice. In a small cluster there is nothing to wait for.
 */
export function joinGraceMs(peers: number): number {
  return Math.max(0, Math.min(15_000, 3 * peers - 300));
}

/** Names the place of a peer. */
export function placeOf({ endpoints, slots }: Pick<OwnedPeer, "endpoints" | "slots">): string {
  return [...endpoints, ...slots.map(({ slot, port }) => `${slot}${port}`)].join(" ");
}

/** Adds the present facts. `counters` is absent if the kernel was not asked for them. */
export function updatePortEvidence(
  before: PortEvidences,
  { settings, node, peers, observations, nowMs }: PortContext,
  counters: CheckCounters | undefined,
): PortEvidences {
  const own = ownSlots(node);
  const evidences = new Map<string, PortEvidence>();
  for (const peer of peers) {
    const place = placeOf(peer);
    const known = before.get(peer.name);
    const isSame = known?.place === place;
    const evidence: { -readonly [S in Slot]?: SlotEvidence } = {};
    for (const slot of own) {
      const old = known?.[slot];
      // Counters of the earlier place stay in the kernel, and begin the count for the new one.
      const last = isSame || old === undefined ? old : { hadHandshake: false, checks: old.checks };
      const checks = counters === undefined ? undefined : sumChecks(peer, slotPort(settings, slot), counters);
      const hasHandshake = observations.get(peer.name)?.[slot]?.handshakeAtMs !== undefined;
      evidence[slot] = updateSlot(last, hasHandshake, checks, nowMs);
    }
    const began = slots.some((slot) => evidence[slot]?.hadHandshake === true) ? nowMs : undefined;
    const sinceMs = (isSame ? known.sinceMs : undefined) ?? began;
    const knownMs = isSame ? known.knownMs : nowMs;
    evidences.set(peer.name, { ...evidence, place, knownMs, ...(sinceMs === undefined ? {} : { sinceMs }) });
  }
  return evidences;
}

function updateSlot(
  before: SlotEvidence | undefined,
  hasHandshake: boolean,
  checks: number | undefined,
  nowMs: number,
): SlotEvidence {
  const known = before?.checks ?? 0;
  const hadHandshake = hasHandshake || before?.hadHandshake === true;
  // A smaller count is that of a table that was made anew.
  const hasArrived = checks !== undefined && checks > 0 && checks !== known;
  const arrivedAtMs = hasArrived ? nowMs : before?.arrivedAtMs;
  return { hadHandshake, checks: checks ?? known, ...(arrivedAtMs === undefined ? {} : { arrivedAtMs }) };
}

function sumChecks({ endpoints, nodeIPs }: OwnedPeer, port: number, counters: CheckCounters): number {
  let sum = 0;
  for (const ip of new Set([...endpoints, ...nodeIPs]))
    sum += counters.get(checkSet(familyOf(ip), port))?.get(ip)?.packets ?? 0;
  return sum;
}

/** Lists the ports on which a pair is not known to work. `canCount`: false if nothing counts port checks. */
export function findPortGaps(
  evidences: PortEvidences,
  { settings, node, peers, observations, nowMs }: PortContext,
  canCount: boolean,
): PortGap[] {
  const own = ownSlots(node);
  const lapseMs = 3 * checkPeriodMs(peers.length);
  const graceMs = joinGraceMs(peers.length);
  return peers.flatMap((peer) => {
    const { name } = peer;
    const evidence = evidences.get(name);
    if (nowMs - (evidence?.knownMs ?? nowMs) < graceMs) return [];
    const observation = observations.get(name) ?? {};
    const isLasting = nowMs - (evidence?.sinceMs ?? nowMs) >= lastingMs;
    return own.flatMap((slot): PortGap[] => {
      const record = usableSlot(peer, slot);
      if (record === undefined) return [];
      const { hadHandshake = false, arrivedAtMs } = evidence?.[slot] ?? {};
      if (!hadHandshake) return [{ peer: name, port: record.port, direction: "both", isLasting }];
      if (!canCount || !sendsFromKnown(peer, observation)) return [];
      const hasLapsed =
        arrivedAtMs === undefined || (nowMs - arrivedAtMs > lapseMs && isAlive(observation, nowMs));
      return hasLapsed ? [{ peer: name, port: slotPort(settings, slot), direction: "in", isLasting }] : [];
    });
  });
}

/** True unless the peer's handshakes come from an address that its record does not name: nothing counts that one. */
function sendsFromKnown({ endpoints, nodeIPs }: OwnedPeer, observation: PeerObservation): boolean {
  return slots.every((slot) => {
    const from = observation[slot]?.handshakeFrom;
    return from === undefined || endpoints.includes(from) || nodeIPs.includes(from);
  });
}

/** True if the peer has sent something that WireGuard has checked, lately. */
function isAlive(observation: PeerObservation, nowMs: number): boolean {
  return slots.some((slot) => {
    const { handshakeAtMs = Number.NEGATIVE_INFINITY, heardAtMs = handshakeAtMs } = observation[slot] ?? {};
    return nowMs - Math.max(handshakeAtMs, heardAtMs) < rejectAfterMs;
  });
}

/** A clause that names peer, port and direction. The peer itself reports what it does not receive of this node. */
export function describePortGap({ peer, port, direction }: PortGap): string {
  return direction === "both"
    ? `no handshake with ${peer} has succeeded on UDP ${port}`
    : `no port check from ${peer} has arrived on UDP ${port} of this node`;
}
