// The node as the agent's parts see it, for as long as the store's generation stands.

import type { Contest, StatusFacts } from "../kube/conditions.ts";
import { familyOf } from "../net/ip.ts";
import type { PeerPath } from "../net/path.ts";
import type { NodeRecord, PeerSource, Slot } from "../net/record.ts";
import { hasNoSession, isProved } from "../plan/peers/handshakes.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { OwnedPeer, Ownership } from "../plan/peers/model.ts";
import type { PeerObservations } from "../plan/peers/observation.ts";
import { resolvePath } from "../plan/peers/path.ts";
import type { PlaintextWindow } from "../plan/report/plaintext-evidence.ts";
import type { PortGap } from "../plan/report/port-evidence.ts";
import type { Mode, Settings } from "../plan/settings/settings.ts";
import type { NodeReader } from "../reconcile/node-reader.ts";
import type { Identity } from "../state/model.ts";

/** The gate's input: the node as resolved for the store's present generation. */
export interface GateView {
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly ownership: Ownership;
  /** Unix milliseconds at which each own key was made. */
  readonly ownSinceMs: Readonly<Partial<Record<Slot, number>>>;
  /** The original records of all nodes that a refused claim names. */
  readonly contested: ReadonlyMap<string, Contender>;
  readonly lapses: readonly Lapse[];
}

/** A peer that claims what another one claims. */
export interface Contender {
  readonly record: NodeRecord;
  readonly source: PeerSource;
}

export interface View extends GateView {
  readonly generation: number;
}

/** Undefined while the node is not up, or about to leave. Throws StoreError, ParseError. */
export function readView(nodes: NodeReader): View | undefined {
  const { settings, identity, record: node, up, ownership, generation, contested, lapses } = nodes.intent();
  if (identity === undefined || node === undefined || !up || identity.leaving) return undefined;
  const ownSinceMs = Object.fromEntries(identity.slots.map(({ slot, createdAtMs }) => [slot, createdAtMs]));
  return { settings, node, ownSinceMs, generation, ownership, contested, lapses };
}

/** Everything known of the peers apart from their records. */
export interface PeerKnowledge {
  readonly paths: ReadonlyMap<string, PeerPath>;
  readonly observations: PeerObservations;
  /** Absent if nothing counts plaintext packets. */
  readonly plaintextWindow: PlaintextWindow | undefined;
  /** False if this node can use none of its slots. */
  readonly hasSlot: boolean;
  /** Names of the peers whose packets go another way than intended, as the kernel says. */
  readonly drifted: ReadonlySet<string>;
  /** Names of the peers that are sent to and do not answer. */
  readonly silent: ReadonlySet<string>;
  /** Ports on which pairs of this node with a peer are not known to work. */
  readonly portGaps: readonly PortGap[];
  /** Names of peers that sent packets through this node to others, outside the tunnel, within the plaintext window. */
  readonly transit: readonly string[];
  /** Sources that packets to peers have had within the plaintext window and that no node takes out of the tunnel. */
  readonly refusedSources: readonly string[];
  /** Names of the peers to which packets with such a source go through the tunnel now. */
  readonly lossy: readonly string[];
  /** Pods of this node whose addresses its record does not have. */
  readonly unknownPods: readonly string[];
  /** One sentence for each cluster CIDR that is ignored, with the reason. */
  readonly refusedCIDRs: readonly string[];
  /** Settings of the cluster's mesh that this node does not follow, with reasons; "" if it follows all. */
  readonly meshWarning: string;
  /** Read from the same clock as the observations. */
  readonly nowMs: number;
}

/** Describes how this node sees its peers, for the status of its object. */
export function describeMesh(
  view: View | undefined,
  { up, slots }: Identity,
  mode: Mode,
  {
    paths,
    observations,
    plaintextWindow,
    hasSlot,
    drifted,
    silent,
    portGaps,
    transit,
    refusedSources,
    lossy,
    unknownPods,
    refusedCIDRs,
    meshWarning,
    nowMs,
  }: PeerKnowledge,
): StatusFacts {
  const keyCreatedAtMs = Math.min(...slots.map(({ createdAtMs }) => createdAtMs));
  const withoutPeers = {
    peers: 0,
    unencrypted: [],
    silent: [],
    unproven: [],
    portGaps: [],
    transit: [],
    refusedSources: [],
    lossy: [],
    unprovenAddresses: [],
    contested: [],
    unknownPods,
    refusedCIDRs,
    meshWarning,
  };
  if (view === undefined) return { up: false, mode, keyCreatedAtMs, ...withoutPeers };
  const { node, ownership, settings, lapses } = view;
  const { peers } = ownership;
  /** True if a peer has answered no handshake since it was added to the device anew: the gate may not call it silent yet. */
  const isWithoutAnswer = (peer: OwnedPeer) => {
    const { slot } = resolvePath(node, peer, paths);
    return slot !== undefined && hasNoSession(observations.get(peer.name)?.[slot], nowMs);
  };
  const namesOf = (which: (peer: OwnedPeer) => boolean) => peers.filter(which).map(({ name }) => name);
  return {
    ...{ up, mode, keyCreatedAtMs, unknownPods, refusedCIDRs, meshWarning, peers: peers.length },
    unencrypted: namesOf(
      (peer) => !hasSlot || resolvePath(node, peer, paths).slot === undefined || drifted.has(peer.name),
    ),
    silent: namesOf((peer) => silent.has(peer.name) || isWithoutAnswer(peer)),
    unproven: namesOf(({ name }) => !isProved(observations.get(name) ?? {}, nowMs)),
    ...{ portGaps, transit, refusedSources, lossy, unprovenAddresses: findUnprovenAddresses(node, peers) },
    contested: ownership.refusals.filter(({ owner }) => owner === node.name),
    ...(lapses.length === 0 ? {} : { lapsed: lapses }),
    ...(plaintextWindow === undefined
      ? {}
      : {
          plaintextWindow: {
            ...plaintextWindow,
            wantedMs: settings.plaintextWindow * 1000,
          },
        }),
  };
}

/** Node IPs of peers that no handshake has proven, of the families that this node has. */
function findUnprovenAddresses(
  { endpoints, nodeIPs }: NodeRecord,
  peers: readonly OwnedPeer[],
): readonly Contest[] {
  const own = new Set([...endpoints, ...nodeIPs].map(familyOf));
  return peers.flatMap(({ name: peer, earlyIPs = [] }) =>
    earlyIPs.filter((ip) => own.has(familyOf(ip))).map((claim) => ({ peer, claim })),
  );
}
