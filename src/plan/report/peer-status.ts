// Names a peer's state from what the devices show. Pure: time is an
// argument.
//
//   encrypted   routed into the tunnel, handshake fresh
//   idle        routed into the tunnel, handshake old: nothing was sent lately
//   unanswered  routed into the tunnel, no handshake ever on this slot
//   silent      routed into the tunnel, unresponsive under traffic: the agent runs recovery steps
//   waiting     has a key, but no handshake has opened the gate yet
//   ready       has completed a handshake, and is left alone because the mode is off
//   conflict    its key is another node's; if it was in the tunnel before, it is refused
//   keyless     its record says that it has no key

import type { Device, Peer } from "../../net/device.ts";
import type { NftCounter } from "../../net/nftables.ts";
import type { PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import { countingSets } from "../firewall/sets.ts";
import { sumByPeer } from "../firewall/table.ts";
import { remotesOf } from "../mesh/desired.ts";
import type { OwnedPeer, Ownership } from "../peers/model.ts";
import { isBarred, isKeyless, keyOf, ownSlots, resolvePath, routeSlot } from "../peers/path.ts";
import { type Settings, slotDevice } from "../settings/settings.ts";
import type { InterfaceArrivals, StrayPackets } from "./arrivals.ts";

export const peerStates = [
  "encrypted",
  "idle",
  "unanswered",
  "silent",
  "waiting",
  "ready",
  "conflict",
  "keyless",
] as const;
export type PeerState = (typeof peerStates)[number];

/** The way that a packet to the peer's pods takes now. */
export const reaches = ["tunnel", "plaintext", "refused"] as const;
export type Reach = (typeof reaches)[number];

export interface PeerStatus {
  readonly name: string;
  readonly state: PeerState;
  readonly reach: Reach;
  /** Absent if the peer is not encrypted. */
  readonly slot?: Slot;
  readonly endpoint?: string;
  /** Unix milliseconds; 0 is never. */
  readonly lastHandshakeMs: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  /** Packets between pods that went outside the tunnel since the table was made; absent without nftables. */
  readonly plaintext?: Plaintext;
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
}

export interface Plaintext {
  /** Arrived in plaintext. */
  readonly inPackets: number;
  /** Left in plaintext; in strict mode, was about to. */
  readonly outPackets: number;
}

interface PeerStatusFacts {
  readonly up: boolean;
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly ownership: Ownership;
  readonly paths?: ReadonlyMap<string, PeerPath>;
}

/** Returns the status of each peer, sorted by name. `read`: the existing devices by name. */
export function describePeers(
  { up, settings, node, ownership, paths }: PeerStatusFacts,
  nowMs: number,
  read: ReadonlyMap<string, Device>,
  plaintext: ReadonlyMap<string, Plaintext>,
): PeerStatus[] {
  const devices = new Map(
    (["a", "b"] as const).map((slot) => {
      const peers = read.get(slotDevice(settings, slot))?.peers ?? [];
      return [slot, new Map(peers.map((peer) => [peer.publicKey, peer]))];
    }),
  );
  return ownership.peers.map((peer) => {
    const { slot, pinned } = resolvePath(node, peer, paths);
    const key = keyOf(peer, slot);
    const seen = slot === undefined || key === undefined ? undefined : devices.get(slot)?.get(key);
    const inPlaintext = plaintext.get(peer.name);
    const base = {
      name: peer.name,
      nodeIPs: peer.nodeIPs,
      podCIDRs: peer.podCIDRs,
      ...(inPlaintext === undefined ? {} : { plaintext: inPlaintext }),
    };
    if (slot === undefined || seen === undefined) {
      const lastHandshakeMs = settings.mode === "off" ? latestHandshake(peer, devices) : 0;
      const waiting = lastHandshakeMs > 0 ? "ready" : "waiting";
      const isRefused = settings.mode === "strict" || isBarred(peer, paths);
      const isConflict = !isKeyless(peer) && routeSlot(node, peer) === undefined;
      // A node without a slot of its own reaches no peer, whatever keys the peers have.
      const isOwnLoss = ownSlots(node).length === 0;
      return {
        ...base,
        state: isOwnLoss ? waiting : isKeyless(peer) ? "keyless" : isConflict ? "conflict" : waiting,
        reach: up && isRefused ? "refused" : "plaintext",
        ...{ lastHandshakeMs, rxBytes: 0, txBytes: 0 },
      };
    }
    const { lastHandshakeMs, rxBytes, txBytes, endpoint } = seen;
    return {
      ...base,
      slot,
      reach: "tunnel",
      state: pinned ? "silent" : stateOf(lastHandshakeMs, nowMs),
      ...(endpoint === undefined
        ? {}
        : {
            endpoint: endpoint.ip.includes(":")
              ? `[${endpoint.ip}]:${endpoint.port}`
              : `${endpoint.ip}:${endpoint.port}`,
          }),
      lastHandshakeMs,
      rxBytes,
      txBytes,
    };
  });
}

/** Returns the time of the latest handshake in Unix milliseconds; 0 if there was none on either slot. */
function latestHandshake(
  { slots }: OwnedPeer,
  devices: ReadonlyMap<Slot, ReadonlyMap<string, Peer>>,
): number {
  const times = slots.map(({ slot, publicKey }) => devices.get(slot)?.get(publicKey)?.lastHandshakeMs ?? 0);
  return Math.max(0, ...times);
}

function stateOf(lastHandshakeMs: number, nowMs: number): PeerState {
  if (lastHandshakeMs === 0) return "unanswered";
  return nowMs - lastHandshakeMs < rejectAfterMs ? "encrypted" : "idle";
}

/** The packets that went outside the tunnel since the table was created. It is empty if nothing counts. */
export interface PlaintextReport {
  readonly byPeer: ReadonlyMap<string, Plaintext>;
  readonly byInterface: readonly InterfaceArrivals[];
  readonly strayPackets: readonly StrayPackets[];
}

/** Sums the plaintext packets of each peer from the counters of the nftables table (set -> prefix -> counter). */
export function sumPlaintext(
  peers: readonly OwnedPeer[],
  counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>,
): Map<string, Plaintext> {
  const remotes = remotesOf(peers);
  const sums = { in: new Map<string, number>(), out: new Map<string, number>() };
  for (const { direction, name } of countingSets)
    for (const [peer, { packets }] of sumByPeer(remotes, counters.get(name) ?? new Map()))
      sums[direction].set(peer, (sums[direction].get(peer) ?? 0) + packets);
  const count = ({ name }: OwnedPeer) => ({
    inPackets: sums.in.get(name) ?? 0,
    outPackets: sums.out.get(name) ?? 0,
  });
  return new Map(peers.map((peer) => [peer.name, count(peer)]));
}
