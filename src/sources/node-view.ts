// The node as the agent's parts see it, for as long as the store's generation stands.

import type { StatusFacts } from "../kube/conditions.ts";
import type { PeerPath } from "../net/path.ts";
import type { NodeRecord, Slot } from "../net/record.ts";
import { isProved } from "../plan/peers/handshakes.ts";
import type { Lapse } from "../plan/peers/lapses.ts";
import type { OwnedPeer, Ownership } from "../plan/peers/model.ts";
import type { PeerObservations } from "../plan/peers/observation.ts";
import { resolvePath } from "../plan/peers/path.ts";
import type { PlaintextWindow } from "../plan/report/plaintext-window.ts";
import type { Mode, Settings } from "../plan/settings/settings.ts";
import type { NodeReader } from "../reconcile/node.ts";
import type { Identity } from "../state/model.ts";

/** The gate's input: the node as resolved for the store's present generation. */
export interface GateView {
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly ownership: Ownership;
  /** Unix milliseconds at which each own key was made. */
  readonly ownSinceMs: Readonly<Partial<Record<Slot, number>>>;
  /** The records of all that refusals name, as they came. */
  readonly contested: ReadonlyMap<string, Contender>;
  readonly lapses: readonly Lapse[];
}

/** A peer that claims what another one claims. */
export interface Contender {
  readonly record: NodeRecord;
  readonly source: "import" | "directory" | "kube";
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

/** What is known of the peers beside their records. */
export interface PeerKnowledge {
  readonly paths: ReadonlyMap<string, PeerPath>;
  readonly observations: PeerObservations;
  /** Absent where nothing counts what goes in plaintext. */
  readonly plaintextWindow: PlaintextWindow | undefined;
  /** Pods of this node whose addresses its record does not have. */
  readonly unknownPods: readonly string[];
  /** Cluster CIDRs that are not obeyed, and why: sentences. */
  readonly refusedCIDRs: readonly string[];
  /** What of the cluster's mesh is not followed, and why; "" if all is. */
  readonly meshWarning: string;
  /** On the clock of the sights. */
  readonly nowMs: number;
}

/** How this node sees the others, for them. */
export function describeMesh(
  view: View | undefined,
  { up, slots }: Identity,
  mode: Mode,
  { paths, observations, plaintextWindow, unknownPods, refusedCIDRs, meshWarning, nowMs }: PeerKnowledge,
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
    unencrypted: namesOf((peer) => resolvePath(node, peer, paths).slot === undefined),
    unproven: namesOf(({ name }) => !isProved(observations.get(name) ?? {}, nowMs)),
    contested: ownership.refusals.filter(({ owner }) => owner === node.name),
    ...(lapses.length === 0 ? {} : { lapsed: lapses }),
    ...(plaintextWindow === undefined
      ? {}
      : {
          plaintextWindow: {
            ...{ forMs: nowMs - plaintextWindow.sinceMs, peers: plaintextWindow.peers },
            wantedMs: settings.plaintextWindow * 1000,
          },
        }),
  };
}
