// What the store says about this node, in the values that plan/ works with.

import type { PeerPath } from "../net/path.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { NodeRecord } from "../net/record.ts";
import type { ClaimingPeer } from "../plan/claims.ts";
import { parseSettings, type Settings, slotPort } from "../plan/settings.ts";
import type { HostRevert, Identity, Programmed, StoredPeer } from "../state/model.ts";
import type { Store } from "../state/store.ts";

export interface NodeState {
  readonly settings: Settings;
  /** Absent where `wg-cni up` was never run here. */
  readonly identity?: Identity;
  /** As other nodes import it; absent with the identity. */
  readonly record?: NodeRecord;
  /** True where the mesh is wanted: `up` was run, and not `down` since. */
  readonly up: boolean;
  readonly peers: readonly ClaimingPeer[];
  /** By peer, the generation at which its record last changed. */
  readonly changedAt: ReadonlyMap<string, number>;
  /** Absent where no agent decides. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  /** Present where host encryption was taken back. */
  readonly hostRevert?: HostRevert;
  readonly podIPs: readonly string[];
  readonly generation: number;
  readonly programmed?: Programmed;
}

/** Reads everything a sync needs. Throws StoreError, ParseError for a setting of another version. */
export function readNode(store: Store): NodeState {
  // First: what is committed after this makes the generation we note too old, and the next sync looks again.
  const generation = store.generation;
  const settings = readSettings(store);
  const identity = store.identity();
  const programmed = store.programmed();
  const peers = store.peers();
  const hostRevert = store.hostRevert();
  return {
    settings,
    ...(identity === undefined ? {} : { identity, record: ownRecord(identity, settings) }),
    up: identity?.up ?? false,
    peers: peers.map(toClaimingPeer),
    changedAt: new Map(peers.map(({ record, changedAt }) => [record.name, changedAt])),
    ...pathsOf(store, identity),
    ...(hostRevert === undefined ? {} : { hostRevert }),
    podIPs: store.attachments().flatMap((attachment) => attachment.ips),
    generation,
    ...(programmed === undefined ? {} : { programmed }),
  };
}

/** A node that leaves reaches nobody through the tunnel any more, and still takes what comes through it. */
function pathsOf(store: Store, identity: Identity | undefined): Pick<NodeState, "paths"> {
  if (identity?.leaving) return { paths: new Map() };
  return store.gated ? { paths: store.paths() } : {};
}

export function readSettings(store: Store): Settings {
  return parseSettings(store.settings());
}

/** The record that other nodes import. */
export function ownRecord(identity: Identity, settings: Settings): NodeRecord {
  const { name, endpoints, nodeIPs, podCIDRs } = identity;
  const slots = identity.slots.map(({ slot, publicKey, state }) => ({
    slot,
    publicKey,
    port: slotPort(settings, slot),
    state,
  }));
  return { name, slots, endpoints, nodeIPs, podCIDRs };
}

/** The record of a node that must not be encrypted to: it keeps its name, addresses and CIDRs. */
export function withdrawnRecord(identity: Identity, settings: Settings): NodeRecord {
  return { ...ownRecord(identity, settings), slots: [] };
}

export function toClaimingPeer({ record, keyClaims, cidrClaims, nodeIPClaims }: StoredPeer): ClaimingPeer {
  return {
    record,
    claimedAt: new Map([
      ...keyClaims.map(({ publicKey, seq }) => [publicKey, seq] as const),
      ...cidrClaims.map(({ cidr, seq }) => [cidr, seq] as const),
      ...nodeIPClaims.map(({ ip, seq }) => [hostPrefix(ip), seq] as const),
    ]),
  };
}
