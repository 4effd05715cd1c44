// The node as the agent's parts see it, for as long as the store's generation stands.

import type { StatusFacts } from "../kube/conditions.ts";
import type { PeerPath } from "../net/path.ts";
import type { NodeRecord, PeerSource, Slot } from "../net/record.ts";
import { isProved } from "../plan/peers/handshakes.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { OwnedPeer, Ownership } from "../plan/peers/model.ts";
import type { PeerObservations } from "../plan/peers/observation.ts";
import { resolvePath } from "../plan/peers/path.ts";
import type { PlaintextWindow } from "../plan/report/plaintext-evidence.ts";
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
  /** Names of the peers whose packets go another way than intended, as the kernel says. */
  readonly drifted: ReadonlySet<string>;
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
    drifted,
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
    unproven: [],
    contested: [],
    unknownPods,
    refusedCIDRs,
    meshWarning,
  };
  if (view === undefined) return { up: false, mode, keyCreatedAtMs, ...withoutPeers };
  const { node, ownership, settings, lapses } = view;
  const { peers } = ownership;
  const namesOf = (which: (peer: OwnedPeer) => boolean) => peers.filter(which).map(({ name }) => name);
  return {
    ...{ up, mode, keyCreatedAtMs, unknownPods, refusedCIDRs, meshWarning, peers: peers.length },
    unencrypted: namesOf(
      (peer) => resolvePath(node, peer, paths).slot === undefined || drifted.has(peer.name),
    ),
    unproven: namesOf(({ name }) => !isProved(observations.get(name) ?? {}, nowMs)),
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
