// What the store says about this node, in the values that plan/ works with.

import type { PeerPath } from "../net/path.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { NodeRecord } from "../net/record.ts";
import { type ClaimingPeer, type Ownership, resolveClaims } from "../plan/claims.ts";
import { knownLandmarks } from "../plan/landmarks.ts";
import { withoutHosts } from "../plan/pod-cidrs.ts";
import { parseSettings, type Settings, slotPort } from "../plan/settings.ts";
import type { HostRevert, Identity, PeerClaims, Programmed, StoredPeer } from "../state/model.ts";
import type { Store } from "../state/store.ts";

/** What stands for as long as the store's generation does. */
export interface Intent {
  readonly generation: number;
  readonly settings: Settings;
  /** Absent where `wg-cni up` was never run here. */
  readonly identity?: Identity;
  /** As other nodes import it; absent with the identity. */
  readonly record?: NodeRecord;
  /** True where the mesh is wanted: `up` was run, and not `down` since. */
  readonly up: boolean;
  /** The peers, with what is theirs. */
  readonly ownership: Ownership;
  /** By peer, the generation at which its record last changed. */
  readonly changedAt: ReadonlyMap<string, number>;
  /** Present where host encryption was taken back. */
  readonly hostRevert?: HostRevert;
}

export interface NodeState extends Intent {
  /** Absent where no agent decides. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  readonly podIPs: readonly string[];
  readonly programmed?: Programmed;
}

/**
 * Reads everything a sync needs. What stands with the generation is kept: to
 * parse thousands of records and to weigh what they claim costs as much as to
 * look at the kernel. All of it throws StoreError, ParseError for a setting of
 * another version.
 */
export class NodeReader {
  #intent: Intent | undefined;

  constructor(private readonly store: Store) {}

  intent(): Intent {
    // First: what is committed after this makes the generation we note too old, and the next sync looks again.
    const { generation } = this.store;
    if (this.#intent?.generation !== generation) this.#intent = readIntent(this.store, generation);
    return this.#intent;
  }

  read(): NodeState {
    const { store } = this;
    const intent = this.intent();
    const programmed = store.programmed();
    return {
      ...intent,
      ...pathsOf(store, intent),
      podIPs: store.attachments().flatMap((attachment) => attachment.ips),
      ...(programmed === undefined ? {} : { programmed }),
    };
  }
}

function readIntent(store: Store, generation: number): Intent {
  const settings = readSettings(store);
  const identity = store.identity();
  const record = identity === undefined ? nobody : ownRecord(identity, settings);
  const peers = store.peers();
  const hostRevert = store.hostRevert();
  const publicKeys = record.slots.map(({ publicKey }) => publicKey);
  return {
    ...{ generation, settings },
    ...(identity === undefined ? {} : { identity, record }),
    up: identity?.up ?? false,
    ownership: withoutHosts(
      resolveClaims({ ...record, publicKeys }, peers.map(toClaimingPeer)),
      knownLandmarks({ node: record, peers: [], settings }),
    ),
    changedAt: new Map(peers.map((peer) => [peer.record.name, peer.changedAt])),
    ...(hostRevert === undefined ? {} : { hostRevert }),
  };
}

/**
 * A node that leaves, or whose mode is off, reaches nobody through the tunnel, and
 * still takes what comes through it.
 */
function pathsOf(store: Store, { identity, settings }: Intent): Pick<NodeState, "paths"> {
  if (identity?.leaving) return { paths: new Map() };
  const paths = store.gated ? store.paths() : undefined;
  if (settings.mode === "off") return { paths: new Map([...(paths ?? [])].map(withoutSlot)) };
  return paths === undefined ? {} : { paths };
}

function withoutSlot([peer, { slot: _, ...path }]: readonly [string, PeerPath]): readonly [string, PeerPath] {
  return [peer, path];
}

/** A node without an identity holds nothing that a peer might claim. */
export const nobody: NodeRecord = { name: "", slots: [], endpoints: [], nodeIPs: [], podCIDRs: [] };

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

export function toClaimingPeer({ record, claims }: StoredPeer): ClaimingPeer {
  return { record, claimedAt: () => toSeqs(claims()) };
}

function toSeqs({ keyClaims, cidrClaims, nodeIPClaims }: PeerClaims): Map<string, number> {
  return new Map([
    ...keyClaims.map(({ publicKey, seq }) => [publicKey, seq] as const),
    ...cidrClaims.map(({ cidr, seq }) => [cidr, seq] as const),
    ...nodeIPClaims.map(({ ip, seq }) => [hostPrefix(ip), seq] as const),
  ]);
}
