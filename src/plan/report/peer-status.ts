// Names a peer's state from what the devices show. Pure: time is an
// argument.
//
//   encrypted   routed into the tunnel, handshake fresh
//   idle        routed into the tunnel, handshake old: nothing was sent lately, or the clock was set
//   unanswered  routed into the tunnel, no handshake ever on this slot
//   silent      routed into the tunnel, unresponsive under traffic: the agent runs recovery steps
//   waiting     has a key, but no handshake has opened the gate yet
//   ready       has completed a handshake, and is left alone because the mode is off
//   conflict    its key is another node's; if it was in the tunnel before, it is refused
//   keyless     its record says that it has no key
//   drift       packets for it go another way than the agent wants: the kernel is not as planned, or some of
//               them have a source that the peer does not take out of the tunnel
//
// The kernel is asked for the way of packets (reach.ts). The intended way is beside it.

import type { Device, Peer } from "../../net/device.ts";
import { formatIpPort } from "../../net/ip-port.ts";
import type { PeerPath } from "../../net/path.ts";
import type { PlaintextRecord } from "../../net/plaintext.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import type { OwnedPeer, Ownership } from "../peers/model.ts";
import { isBarred, isKeyless, keyOf, ownSlots, resolvePath, routeSlot, slots } from "../peers/path.ts";
import { type Mode, type Settings, slotDevice } from "../settings/settings.ts";
import type { PeerReach, Reach } from "./reach.ts";

export const peerStates = [
  "encrypted",
  "idle",
  "unanswered",
  "silent",
  "waiting",
  "ready",
  "conflict",
  "keyless",
  "drift",
] as const;
export type PeerState = (typeof peerStates)[number];

export interface PeerStatus {
  readonly name: string;
  readonly state: PeerState;
  /** The way of packets for the peer's pods, as the kernel says; as intended if it has no pods to ask for. */
  readonly reach: Reach;
  /** Of the tunnel that packets take now. */
  readonly slot?: Slot;
  /** The way that packets should take. */
  readonly intent: Intent;
  /** A clause that says what the kernel does with the packets, if that is not the intent. */
  readonly why?: string;
  /** A clause that says why some packets that take the tunnel are lost. */
  readonly loss?: string;
  readonly endpoint?: string;
  /** Unix milliseconds; 0 is never. */
  readonly lastHandshakeMs: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Packets between pods that went outside the tunnel; absent if none is known of and nothing counts. */
  readonly plaintext?: PlaintextRecord;
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
}

export interface Intent {
  readonly reach: Reach;
  /** Of the tunnel. */
  readonly slot?: Slot;
}

export interface PeerStatusFacts {
  readonly up: boolean;
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly ownership: Ownership;
  readonly paths?: ReadonlyMap<string, PeerPath>;
}

/** The states in which nothing has to be done about a peer. */
export const goodStates: readonly PeerState[] = ["encrypted", "idle", "ready"];

/** WireGuard's own times differ from the wall clock by up to this. */
export const clockSlackMs = 5_000;

/** True if packets for the peer are encrypted, in plaintext because the mode is off, or refused as they should be. */
export function isWell({ state, reach, intent, txBytes }: PeerStatus, mode: Mode): boolean {
  if (mode === "off") return reach === intent.reach;
  // Without an agent, the first packet begins the handshake.
  const isUnused = state === "unanswered" && txBytes === 0;
  if (reach === "refused" && intent.reach === "refused") return true;
  return (isUnused || goodStates.includes(state)) && reach === "tunnel";
}

type Drifting = Pick<PeerStatus, "name" | "reach" | "intent" | "why">;

/** A sentence about packets that go another way than intended; undefined if none do. */
export function describeDrift({ name, reach, intent, why }: Drifting): string | undefined {
  if (reach === intent.reach) return undefined;
  const now = {
    tunnel: "are encrypted",
    plaintext: "go in plaintext",
    refused: "are refused",
    lost: "are lost",
  };
  const wanted = { tunnel: "encrypted", plaintext: "sent in plaintext", refused: "refused", lost: "lost" };
  return `packets for ${name} ${now[reach]} and should be ${wanted[intent.reach]}${why === undefined ? "" : `: ${why}`}`;
}

/** A sentence about packets that are lost in the tunnel; undefined if none are known to be. */
export function describeLoss({ name, loss }: Pick<PeerStatus, "name" | "loss">): string | undefined {
  return loss === undefined ? undefined : `some packets for ${name} are lost in the tunnel: ${loss}`;
}

/** The peers whose packets go another way than intended, by name, each with a sentence. */
export function findDrift(
  facts: PeerStatusFacts,
  reaches: ReadonlyMap<string, PeerReach>,
): Map<string, string> {
  return new Map(
    facts.ownership.peers.flatMap((peer) => {
      const { name } = peer;
      const observed = reaches.get(name);
      if (observed === undefined) return [];
      const sentence = describeDrift({ name, intent: intentFor(facts, peer), ...observed });
      return sentence === undefined ? [] : [[name, sentence] as const];
    }),
  );
}

/** The facts about peers that the kernel shows. */
export interface PeerEvidence {
  /** The devices that there are, by name. */
  readonly devices: ReadonlyMap<string, Device>;
  /** Of each peer, where packets for it go. */
  readonly reach: ReadonlyMap<string, PeerReach>;
  /** Of each peer, the packets that went outside the tunnel. */
  readonly plaintext: ReadonlyMap<string, PlaintextRecord>;
}

/** One status a peer, by name. */
export function describePeers(
  facts: PeerStatusFacts,
  nowMs: number,
  { devices: read, reach, plaintext }: PeerEvidence,
): PeerStatus[] {
  const { settings, node, ownership, paths } = facts;
  const devices = new Map(
    slots.map((slot) => {
      const peers = read.get(slotDevice(settings, slot))?.peers ?? [];
      return [slot, new Map(peers.map((peer) => [peer.publicKey, peer]))];
    }),
  );
  return ownership.peers.map((peer) => {
    const intent = intentFor(facts, peer);
    const observed: PeerReach = reach.get(peer.name) ?? intent;
    const { why, loss } = observed;
    const { pinned } = resolvePath(node, peer, paths);
    const hasDrifted = observed.reach !== intent.reach;
    const slot = observed.reach === "tunnel" ? observed.slot : undefined;
    const key = keyOf(peer, slot);
    const seen = slot === undefined || key === undefined ? undefined : devices.get(slot)?.get(key);
    const inPlaintext = plaintext.get(peer.name);
    const latest = latestHandshake(peer, devices);
    const lastHandshakeMs = seen?.lastHandshakeMs ?? (settings.mode === "off" ? latest : 0);
    const plannedState =
      seen === undefined
        ? closedState(node, peer, lastHandshakeMs)
        : pinned
          ? "silent"
          : stateOf(lastHandshakeMs, nowMs, settings);
    return {
      name: peer.name,
      state: hasDrifted || loss !== undefined ? "drift" : plannedState,
      reach: observed.reach,
      ...(slot === undefined ? {} : { slot }),
      intent,
      ...(hasDrifted && why !== undefined ? { why } : {}),
      ...(loss === undefined ? {} : { loss }),
      nodeIPs: peer.nodeIPs,
      podCIDRs: peer.podCIDRs,
      ...(inPlaintext === undefined ? {} : { plaintext: inPlaintext }),
      ...(seen?.endpoint === undefined ? {} : { endpoint: formatIpPort(seen.endpoint) }),
      ...{ lastHandshakeMs, rxBytes: seen?.rxBytes ?? 0, txBytes: seen?.txBytes ?? 0 },
    };
  });
}

/** Returns the way that packets for the peer should take. */
export function intentFor({ up, settings, node, paths }: PeerStatusFacts, peer: OwnedPeer): Intent {
  const { slot } = resolvePath(node, peer, paths);
  if (up && settings.mode !== "off" && slot !== undefined) return { reach: "tunnel", slot };
  const isRefused = up && (settings.mode === "strict" || isBarred(peer, paths));
  return { reach: isRefused ? "refused" : "plaintext" };
}

/** The state of a peer that is not in the tunnel. */
function closedState(node: NodeRecord, peer: OwnedPeer, lastHandshakeMs: number): PeerState {
  const waiting = lastHandshakeMs > 0 ? "ready" : "waiting";
  // A node without a slot of its own reaches no peer, whatever keys the peers have.
  if (ownSlots(node).length === 0) return waiting;
  if (isKeyless(peer)) return "keyless";
  return routeSlot(node, peer) === undefined ? "conflict" : waiting;
}

/** Unix milliseconds; 0 if there was none on either slot. */
function latestHandshake(
  { slots }: OwnedPeer,
  devices: ReadonlyMap<Slot, ReadonlyMap<string, Peer>>,
): number {
  const times = slots.map(({ slot, publicKey }) => devices.get(slot)?.get(publicKey)?.lastHandshakeMs ?? 0);
  return Math.max(0, ...times);
}

/** With keepalives a session is renewed after two minutes; this one was not, so the peer does not answer. */
const overdueMs = 240_000;

function stateOf(lastHandshakeMs: number, nowMs: number, { persistentKeepalive }: Settings): PeerState {
  if (lastHandshakeMs === 0) return "unanswered";
  const ageMs = nowMs - lastHandshakeMs;
  if (persistentKeepalive > 0 && ageMs > overdueMs) return "silent";
  // The age of a handshake that is ahead of the clock is unknown: the clock was set back since.
  return ageMs >= -clockSlackMs && ageMs < rejectAfterMs ? "encrypted" : "idle";
}
