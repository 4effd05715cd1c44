// The metrics that are read when a scrape comes have one table row each: name, help, labels, and the
// function that makes the values from the facts. Pure. Each peer has seven values, which end with the
// peer.
import type { Slot } from "../net/record.ts";
import { hostEncryptionStates } from "../plan/host/host-encryption.ts";
import type { InterfaceArrivals } from "../plan/report/arrivals.ts";
import { type PeerStatus, peerStates } from "../plan/report/peer-status.ts";
import { reaches } from "../plan/report/reach.ts";
import type { ScrapeFacts } from "./facts.ts";

export interface Value {
  readonly labels: Record<string, string>;
  readonly value: number;
}

export interface SeriesHead {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly labels: readonly string[];
}

export interface Series<Facts> extends SeriesHead {
  readonly values: (facts: Facts) => Value[];
}

export const scrapeSeries: readonly Series<ScrapeFacts>[] = [
  {
    name: "wg_cni_node_info",
    type: "gauge",
    help: "This node: name, mode and WireGuard implementation; always 1.",
    labels: ["node", "mode", "backend"],
    values: ({ node, mode, backend }) => [one({ node, mode, backend })],
  },
  {
    name: "wg_cni_peers_by_reach",
    type: "gauge",
    help: "Peers by the way that a packet for their pods takes now: into the tunnel, in plaintext, or refused.",
    labels: ["reach"],
    values: ({ peers }) => countBy("reach", peers, reaches),
  },
  {
    name: "wg_cni_peers_by_state",
    type: "gauge",
    help: "Peers by state, as `wg-cni status` names them.",
    labels: ["state"],
    values: ({ peers }) => countBy("state", peers, peerStates),
  },
  {
    name: "wg_cni_peer_state",
    type: "gauge",
    help: "State of a peer and the way that a packet for its pods takes; 1 for the present combination.",
    labels: ["peer", "state", "reach"],
    values: eachPeer(({ name, state, reach }) => [one({ peer: name, state, reach })]),
  },
  {
    name: "wg_cni_peer_info",
    type: "gauge",
    help: "Slot that carries the traffic to a peer and the endpoint it is sent to; empty if there is none.",
    labels: ["peer", "slot", "endpoint"],
    values: eachPeer(({ name, slot = "", endpoint = "" }) => [one({ peer: name, slot, endpoint })]),
  },
  {
    name: "wg_cni_peer_latest_handshake_seconds",
    type: "gauge",
    help: "Unix time of the latest handshake with a peer on the slot in use; 0 is never.",
    labels: ["peer"],
    values: eachPeer(({ name, lastHandshakeMs }) => [
      { labels: { peer: name }, value: lastHandshakeMs / 1000 },
    ]),
  },
  {
    name: "wg_cni_peer_received_bytes_total",
    type: "counter",
    help: "Bytes received from a peer on the slot in use.",
    labels: ["peer", "slot"],
    values: eachPeer((peer) => slotBytes(peer, peer.rxBytes)),
  },
  {
    name: "wg_cni_peer_sent_bytes_total",
    type: "counter",
    help: "Bytes sent to a peer on the slot in use.",
    labels: ["peer", "slot"],
    values: eachPeer((peer) => slotBytes(peer, peer.txBytes)),
  },
  {
    name: "wg_cni_plaintext_packets_total",
    type: "counter",
    help: "Packets between pods of this node and a peer's outside the tunnel; in strict mode they were dropped.",
    labels: ["direction", "peer"],
    values: eachPeer(plaintextValues),
  },
  {
    name: "wg_cni_plaintext_arrivals_total",
    type: "counter",
    help: "Packets that arrived outside the tunnel, by interface and by their claimed origin: `peer` came by the interface that leads to that peer; `spoofed` came by an interface that does not lead to their source; `unannounced` came from an address of a cluster CIDR that no node announces. In strict mode they were dropped.",
    labels: ["interface", "claim"],
    values: ({ arrivals }) => arrivals.flatMap(arrivalValues),
  },
  {
    name: "wg_cni_stray_packets_total",
    type: "counter",
    help: "Decrypted packets whose destination is neither this node nor one of its pods, by device; they were refused. A few follow a pod that has ended; more mean that a peer sends them on purpose or by mistake.",
    labels: ["device"],
    values: ({ strayPackets }) =>
      strayPackets.map(({ device, packets }) => ({ labels: { device }, value: packets })),
  },
  {
    name: "wg_cni_generation_desired",
    type: "gauge",
    help: "Generation of the intent in the store: goes up when settings, keys or peers change.",
    labels: [],
    values: ({ generation }) => [{ labels: {}, value: generation.desired }],
  },
  {
    name: "wg_cni_generation_programmed",
    type: "gauge",
    help: "Generation that the kernel was last programmed to completely.",
    labels: [],
    values: ({ generation: { programmed } }) =>
      programmed === undefined ? [] : [{ labels: {}, value: programmed }],
  },
  {
    name: "wg_cni_slot_state",
    type: "gauge",
    help: "State of one of this node's own slots; 1 for the present state.",
    labels: ["slot", "state"],
    values: ({ slots }) => slots.map(({ slot, state }) => one({ slot, state })),
  },
  {
    name: "wg_cni_key_created_timestamp_seconds",
    type: "gauge",
    help: "Unix time at which the key of one of this node's slots was made.",
    labels: ["slot"],
    values: ({ slots }) =>
      slots
        .filter(({ createdAtMs }) => createdAtMs > 0)
        .map(({ slot, createdAtMs }) => ({ labels: { slot }, value: createdAtMs / 1000 })),
  },
  {
    name: "wg_cni_key_rotation_interval_seconds",
    type: "gauge",
    help: "Seconds between rotations of this node's keys; 0 is never.",
    labels: [],
    values: ({ keyRotationSeconds }) => [{ labels: {}, value: keyRotationSeconds }],
  },
  {
    name: "wg_cni_rotation_phase",
    type: "gauge",
    help: "Phase of the rotation of this node's keys, with the slot; 1 for the present phase.",
    labels: ["phase"],
    values: ({ rotation }) => [one({ phase: rotation.phase })],
  },
  {
    name: "wg_cni_rotation_started_timestamp_seconds",
    type: "gauge",
    help: "Unix time at which the present rotation began; absent if there is none.",
    labels: [],
    values: ({ rotation: { startedAtMs } }) =>
      startedAtMs === undefined ? [] : [{ labels: {}, value: startedAtMs / 1000 }],
  },
  {
    name: "wg_cni_host_encryption",
    type: "gauge",
    help: "State of host encryption, as `wg-cni status` explains it; 1 for the present state.",
    labels: ["state"],
    values: ({ hostEncryption }) =>
      hostEncryptionStates.map((state) => ({
        labels: { state },
        value: state === hostEncryption ? 1 : 0,
      })),
  },
  {
    name: "wg_cni_rejected_records",
    type: "gauge",
    help: "Rejected records, and problems that concern all records; `wg-cni peer list` has the reasons.",
    labels: [],
    values: ({ rejectedRecords }) => [{ labels: {}, value: rejectedRecords }],
  },
  {
    name: "wg_cni_refused_claims",
    type: "gauge",
    help: "Claims of peers' records that were refused, because a key, CIDR or address belongs to another node; `wg-cni peer list` has the reasons.",
    labels: [],
    values: ({ refusedClaims }) => [{ labels: {}, value: refusedClaims }],
  },
  {
    name: "wg_cni_kubernetes_watching",
    type: "gauge",
    help: "1 if the watch of the peers' records in the Kubernetes API works; absent if the API is not used.",
    labels: [],
    values: ({ kubernetes }) => yesOrNo(kubernetes?.watching),
  },
  {
    name: "wg_cni_kubernetes_published",
    type: "gauge",
    help: "1 if the Kubernetes API has this node's present record; absent if the API is not used.",
    labels: [],
    values: ({ kubernetes }) => yesOrNo(kubernetes?.published),
  },
];

function yesOrNo(isSo: boolean | undefined): Value[] {
  return isSo === undefined ? [] : [{ labels: {}, value: isSo ? 1 : 0 }];
}

function one(labels: Record<string, string>): Value {
  return { labels, value: 1 };
}

function eachPeer(values: (peer: PeerStatus) => Value[]): (facts: ScrapeFacts) => Value[] {
  return ({ peers }) => peers.flatMap(values);
}

/** Includes zeros, because an alert on a missing series does not fire. */
function countBy<K extends "state" | "reach">(
  label: K,
  peers: readonly PeerStatus[],
  all: readonly PeerStatus[K][],
): Value[] {
  const counts = new Map<string, number>(all.map((one) => [one, 0]));
  for (const peer of peers) counts.set(peer[label], (counts.get(peer[label]) ?? 0) + 1);
  return [...counts].map(([key, value]) => ({ labels: { [label]: key }, value }));
}

/** Counts by slot, because each slot has its own counter in the kernel and a sum would jump if traffic changes slots. */
function slotBytes({ name, slot }: { readonly name: string; readonly slot?: Slot }, value: number): Value[] {
  return slot === undefined ? [] : [{ labels: { peer: name, slot }, value }];
}

function arrivalValues(arrivals: InterfaceArrivals): Value[] {
  const by = { interface: arrivals.interface };
  return [
    { labels: { ...by, claim: "peer" }, value: arrivals.peerPackets },
    { labels: { ...by, claim: "spoofed" }, value: arrivals.spoofedPackets },
    { labels: { ...by, claim: "unannounced" }, value: arrivals.unannouncedPackets },
  ];
}

/** Returns nothing if packets are not counted: a zero would claim that none was in plaintext. */
function plaintextValues({ name, plaintext }: PeerStatus): Value[] {
  if (plaintext === undefined) return [];
  return [
    { labels: { direction: "in", peer: name }, value: plaintext.inPackets },
    { labels: { direction: "out", peer: name }, value: plaintext.outPackets },
  ];
}
