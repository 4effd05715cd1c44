// Reads this node's part of the store, as the values that plan/ works with.

import { keepEqualItems } from "../net/keep.ts";
import type { PeerPath } from "../net/path.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { NodeRecord, Slot } from "../net/record.ts";
import type { Landmark } from "../plan/peers/landmarks.ts";
import type { ClaimingPeer, Ownership } from "../plan/peers/model.ts";
import { refuseUnproven } from "../plan/peers/node-ip-proof.ts";
import { reachablePeers } from "../plan/peers/path.ts";
import { withoutTaken } from "../plan/peers/taken.ts";
import { parseSettings, type Settings, slotPort } from "../plan/settings/settings.ts";
import type {
  AppliedState,
  ClaimLapse,
  HostRevert,
  Identity,
  IdentitySlot,
  PeerClaims,
  SlotFault,
  StoredPeer,
} from "../state/model.ts";
import type { Store } from "../state/store.ts";
import { readOwnership } from "./ownership.ts";

/** The slots of this node that cannot be used, with the reason. */
export type SlotFaults = ReadonlyMap<Slot, SlotFault>;

/** The facts that hold as long as the store's generation does. */
export interface Intent {
  readonly generation: number;
  readonly settings: Settings;
  /** Addresses around this node that are no pod's. */
  readonly landmarks: readonly Landmark[];
  /** Absent if `wg-cni up` was never run here. */
  readonly identity?: Identity;
  /** The record as other nodes import it; absent without an identity. */
  readonly record?: NodeRecord;
  /** True if the mesh is wanted: `up` was run, and not `down` since. */
  readonly up: boolean;
  /** The peers, with what is theirs, as they are reached from here: not on a slot that this node withdraws. */
  readonly ownership: Ownership;
  /** The records, as they came, of all peers that refusals name, with their sources. */
  readonly contested: ReadonlyMap<string, Pick<StoredPeer, "record" | "source">>;
  readonly lapses: readonly ClaimLapse[];
  /** For each peer, the generation at which its record last changed. */
  readonly changedAt: ReadonlyMap<string, number>;
  /** Present if host encryption was taken back. */
  readonly hostRevert?: HostRevert;
}

export interface NodeState extends Intent {
  /** Absent if no agent decides. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  readonly podIPs: readonly string[];
  readonly applied?: AppliedState;
}

/** Slots of this node that a sync finds unusable. */
export interface FoundFaults {
  readonly faults: SlotFaults;
  /** True if the mesh is in this kernel. A node that then loses both slots does not tell its peers. */
  readonly isRunning: boolean;
}

/**
 * Reads everything a sync needs. Values that change only with the generation and the landmarks are
 * kept, because to parse thousands of records and to weigh their claims costs as much as to
 * read the kernel; a peer that stays as it was stays the same object. The rest is kept as long as no process writes to the store. All of it throws StoreError,
 * ParseError for a setting of another version.
 */
export class NodeReader {
  #intent: Intent | undefined;
  #read: { readonly version: string; readonly intent: Intent; readonly state: NodeState } | undefined;

  /** `around`: landmarks around this node, the same list for as long as they stand. */
  constructor(
    private readonly store: Store,
    private readonly around: (settings: Settings) => readonly Landmark[],
  ) {}

  /** `found`: in place of what the store has. */
  intent(found?: FoundFaults): Intent {
    // The generation is read first: a later commit makes the one that we note too old, and the next sync reads again.
    const { generation } = this.store;
    const settings =
      this.#intent?.generation === generation ? this.#intent.settings : readSettings(this.store);
    const landmarks = this.around(settings);
    if (this.#intent?.generation !== generation || this.#intent.landmarks !== landmarks)
      this.#intent = keepPeers(readIntent(this.store, { generation, settings, landmarks }), this.#intent);
    if (found === undefined || isSameFaults(found.faults, faultsOf(this.#intent.identity)))
      return this.#intent;
    return readIntent(this.store, { generation, settings, landmarks }, found);
  }

  /** `found`: as of `intent`. */
  read(found?: FoundFaults): NodeState {
    const { store } = this;
    // As with the generation, the version is read first.
    const { version } = store;
    const intent = this.intent(found);
    if (this.#read?.version === version && this.#read.intent === intent) return this.#read.state;
    const state = readState(store, intent);
    this.#read = { version, intent, state };
    return state;
  }
}

/** Peers that stay as they are stay the same objects, because much is kept for each of them. */
function keepPeers(intent: Intent, last: Intent | undefined): Intent {
  const { ownership } = intent;
  const peers = keepEqualItems(ownership.peers, last?.ownership.peers ?? []);
  return { ...intent, ownership: { ...ownership, peers } };
}

function readState(store: Store, intent: Intent): NodeState {
  const applied = store.applied();
  const paths = pathsOf(store, intent);
  return {
    ...intent,
    ...paths,
    ownership: withUnshown(intent.ownership, paths.paths),
    podIPs: podIPsOf(store, intent),
    ...(applied === undefined ? {} : { applied }),
  };
}

function readIntent(
  store: Store,
  { generation, settings, landmarks }: Pick<Intent, "generation" | "settings" | "landmarks">,
  found?: FoundFaults,
): Intent {
  const stored = store.identity();
  const identity = stored === undefined || found === undefined ? stored : withFaults(stored, found.faults);
  const record = identity === undefined ? noNode : ownRecord(identity, settings);
  const published = stored !== undefined && found?.isRunning ? ownRecord(stored, settings) : record;
  const peers = store.peers();
  const hostRevert = store.hostRevert();
  const lapses = store.lapses();
  const ownership = readOwnership(store, { settings, node: record, peers, landmarks, toClaimingPeer });
  const { refusals } = ownership;
  const named = new Set(refusals.flatMap(({ peer, owner }) => [peer, owner]));
  const contested = named.size === 0 ? [] : peers.filter((peer) => named.has(peer.record.name));
  return {
    ...{ generation, settings, landmarks },
    ...(identity === undefined ? {} : { identity, record }),
    up: identity?.up ?? false,
    ownership: { refusals, peers: reachablePeers(record, ownership.peers, published) },
    ...{ lapses, contested: new Map(contested.map((peer) => [peer.record.name, peer])) },
    changedAt: new Map(peers.map((peer) => [peer.record.name, peer.changedAt])),
    ...(hostRevert === undefined ? {} : { hostRevert }),
  };
}

/** If the gate is still closed, the handshake that opens it may show the address yet. */
function withUnshown(ownership: Ownership, paths: ReadonlyMap<string, PeerPath> | undefined): Ownership {
  const isOpen = (peer: string) => paths?.get(peer)?.slot !== undefined;
  const refused = refuseUnproven(ownership.peers, isOpen);
  return refused.length === 0 ? ownership : { ...ownership, refusals: [...ownership.refusals, ...refused] };
}

/** The addresses of the pods on record, without those that a peer owns: the peer may have come later than the pod. */
function podIPsOf(store: Store, { record, ownership }: Intent): readonly string[] {
  return withoutTaken(store.podIPs(), { own: record?.podCIDRs ?? [], peers: ownership.peers });
}

/**
 * A node that leaves, or whose mode is off, reaches no peer through the tunnel, and
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
export const noNode: NodeRecord = { name: "", slots: [], endpoints: [], nodeIPs: [], podCIDRs: [] };

export function readSettings(store: Store): Settings {
  return parseSettings(store.settings());
}

/** The record that other nodes import. */
export function ownRecord(identity: Identity, settings: Settings): NodeRecord {
  const { name, endpoints, nodeIPs, podCIDRs } = identity;
  const slots = identity.slots.map(({ slot, publicKey, state, proof, fault }) => ({
    slot,
    publicKey,
    port: slotPort(settings, slot),
    state: fault === undefined ? state : ("withdrawn" as const),
    ...(proof === undefined ? {} : { proof }),
  }));
  return { name, slots, endpoints, nodeIPs, podCIDRs };
}

/** Returns the faults that the store has. */
export function faultsOf(identity: Identity | undefined): SlotFaults {
  return new Map(
    (identity?.slots ?? []).flatMap(({ slot, fault }) => (fault ? [[slot, fault] as const] : [])),
  );
}

export function withFaults(identity: Identity, faults: SlotFaults): Identity {
  const slots = identity.slots.map(({ fault: _, ...own }): IdentitySlot => {
    const fault = faults.get(own.slot);
    return fault === undefined ? own : { ...own, fault };
  });
  return { ...identity, slots };
}

export function isSameFaults(some: SlotFaults, others: SlotFaults): boolean {
  const same = ([slot, { kind, reason }]: readonly [Slot, SlotFault]) => {
    const other = others.get(slot);
    return other?.kind === kind && other.reason === reason;
  };
  return some.size === others.size && [...some].every(same);
}

/** The record of a node that must not be encrypted to: it keeps its name, addresses and CIDRs. */
export function withdrawnRecord(identity: Identity, settings: Settings): NodeRecord {
  return { ...ownRecord(identity, settings), slots: [] };
}

export function toClaimingPeer({ record, claims, unproven }: StoredPeer): ClaimingPeer {
  return { record, claimedAt: () => toSeqs(claims()), ...(unproven.length === 0 ? {} : { unproven }) };
}

function toSeqs({ keyClaims, cidrClaims, nodeIPClaims }: PeerClaims): Map<string, number> {
  return new Map([
    ...keyClaims.map(({ publicKey, seq }) => [publicKey, seq] as const),
    ...cidrClaims.map(({ cidr, seq }) => [cidr, seq] as const),
    ...nodeIPClaims.map(({ ip, seq }) => [hostPrefix(ip), seq] as const),
  ]);
}
