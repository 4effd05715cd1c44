// The store: what this node intends (settings, identity, peers) and has done
// (attachments, leases), in one SQLite file that plugin processes, agent and
// command line share. One file a table holds the statements; this one names
// them together. It decides nothing and touches no kernel object.
//
//   <stateDir>/         0700; locked by each writer, so that writers queue (connection.ts)
//     state.db          0600, complete from its first moment (open.ts)
//     state.db-wal,-shm SQLite's, left behind by processes that just exit
//     state.lock        held only while state.db is made or migrated
import type { ClusterHosts } from "../net/cluster-hosts.ts";
import { keepEqual } from "../net/keep.ts";
import type { PeerPath } from "../net/path.ts";
import type { PlaintextEvidence } from "../net/plaintext.ts";
import type { NodeRecord, PeerSource, SlotRecord } from "../net/record.ts";
import * as agent from "./agent.ts";
import * as attachments from "./attachments.ts";
import type { Connection } from "./connection.ts";
import * as identity from "./identity.ts";
import * as leases from "./leases.ts";
import * as meta from "./meta.ts";
import type {
  AppliedState,
  Attachment,
  ClaimLapse,
  HostRevert,
  Identity,
  JsonValue,
  Lease,
  Owner,
  RejectedRecord,
  Rotation,
  SavedSysctl,
  StoredPeer,
} from "./model.ts";
import * as proofs from "./node-ip-proofs.ts";
import { openState } from "./open.ts";
import * as peers from "./peers.ts";
import * as plaintext from "./plaintext.ts";
import * as settings from "./settings.ts";
import * as sysctls from "./sysctls.ts";

/** Every method throws StoreError if the file refuses. */
export class Store implements Disposable {
  readonly #db: Connection;
  #peers: ReadonlyMap<string, StoredPeer> = new Map();
  #paths: { readonly version: string; readonly all: ReadonlyMap<string, PeerPath> } = {
    ...{ version: "", all: new Map() },
  };

  private constructor(db: Connection) {
    this.#db = db;
  }

  /** Opens or creates the state; what an earlier `boot` has left of containers is dropped. */
  static open(stateDir: string, boot: string): Store {
    const db = openState(stateDir);
    try {
      meta.enterBoot(db, boot);
      return new Store(db);
    } catch (error) {
      db[Symbol.dispose]();
      throw error;
    }
  }

  /** Directory of the database file and of the locks beside it. */
  get directory(): string {
    return this.#db.path.slice(0, this.#db.path.lastIndexOf("/"));
  }

  /** Path of the database file. */
  get path(): string {
    return this.#db.path;
  }

  /** Not needed before exiting: SQLite's recovery is cheap, closing the last connection is not. */
  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  /** Commits all that `inside` changes, or nothing if it throws. Keep it short: other processes wait. */
  transaction<T>(inside: () => T): T {
    return this.#db.transaction(inside);
  }

  /** The generation of the intent. It increases with every change of settings, identity and peers. */
  get generation(): number {
    return meta.readGeneration(this.#db);
  }

  /** A text that is another one after every commit of any process; it costs much less than reading. */
  get version(): string {
    return this.#db.version;
  }

  applied(): AppliedState | undefined {
    return meta.readApplied(this.#db);
  }

  /** Undefined means unknown, so the next sync observes everything. */
  setApplied(applied: AppliedState | undefined): void {
    meta.writeApplied(this.#db, applied);
  }

  /** Only what was set, by the cluster's mesh before the node's own; defaults are plan/settings/settings.ts. */
  settings(): Record<string, unknown> {
    return settings.readSettings(this.#db);
  }

  /** Returns the settings of the cluster's mesh, whatever is set here; empty if it sets nothing. */
  meshSettings(): Record<string, unknown> {
    return settings.readMeshSettings(this.#db);
  }

  putMeshSettings(mesh: Readonly<Record<string, JsonValue>>): void {
    settings.writeMeshSettings(this.#db, mesh);
  }

  /** The node's own; undefined goes back to the default. */
  putSetting(key: string, value: JsonValue | undefined): void {
    settings.writeSetting(this.#db, key, value);
  }

  /** Undefined only if the node has none; it is on disk when putIdentity returns. */
  identity(): Identity | undefined {
    return identity.readIdentity(this.#db);
  }

  putIdentity(value: Identity): void {
    identity.writeIdentity(this.#db, value);
  }

  /** The list is in order of names. A peer that has not changed since the last call is the same object. */
  peers(): StoredPeer[] {
    const read = peers.readPeers(this.#db, this.#peers);
    // A transaction that is undone gives its numbers to the next one.
    if (!this.#db.isWriting) this.#peers = read;
    return [...read.values()];
  }

  /** Returns a peer's record from before, if the present one has given something up. */
  previousRecord(name: string): NodeRecord | undefined {
    return peers.readPreviousRecord(this.#db, name);
  }

  /** The key is the peer's name. It costs a tenth of reading the records. */
  peerSources(): Map<string, PeerSource> {
    return peers.readPeerSources(this.#db);
  }

  /** Slots of a record with a proof that `putPeers` would ask about. */
  unverified(record: NodeRecord): SlotRecord[] {
    return peers.findUnverified(this.#db, record);
  }

  /**
   * Adds or replaces by name, all or none; other peers stay. `isProven` is asked once for each proof.
   * Returns the records that were not there already.
   */
  putPeers(
    records: readonly NodeRecord[],
    source: PeerSource = "import",
    isProven: peers.ProofCheck = () => false,
  ): NodeRecord[] {
    return peers.writePeers(this.#db, records, source, isProven);
  }

  /** False if there is no such peer. */
  removePeer(name: string): boolean {
    return peers.deletePeer(this.#db, name);
  }

  /** True once an agent decides how peers are reached. */
  get gated(): boolean {
    return agent.readGated(this.#db);
  }

  /** False also forgets all paths: routes are installed at once again. */
  setGated(gated: boolean): void {
    agent.writeGated(this.#db, gated);
  }

  /** The key is the peer's name. A peer that is not in the map has a closed gate. Equal paths are the same objects. */
  paths(): ReadonlyMap<string, PeerPath> {
    const { version } = this;
    if (this.#paths.version !== version)
      this.#paths = { version, all: keepEqual(agent.readPaths(this.#db), this.#paths.all) };
    return this.#paths.all;
  }

  /** Undefined forgets a peer's path. */
  putPaths(changed: ReadonlyMap<string, PeerPath | undefined>, durable: boolean): void {
    agent.writePaths(this.#db, changed, durable);
  }

  /** Undoes the ratchet for one peer, by an operator's word; false if there was nothing to undo. */
  closeGate(peer: string): boolean {
    return agent.closeGate(this.#db, peer);
  }

  /** Returns the knowledge of packets that went outside the tunnel. */
  plaintext(): PlaintextEvidence {
    return plaintext.readPlaintext(this.#db);
  }

  putPlaintext(evidence: PlaintextEvidence): void {
    plaintext.writePlaintext(this.#db, evidence);
  }

  rotation(): Rotation | undefined {
    return agent.readRotation(this.#db);
  }

  putRotation(rotation: Rotation | undefined): void {
    agent.writeRotation(this.#db, rotation);
  }

  hostRevert(): HostRevert | undefined {
    return agent.readHostRevert(this.#db);
  }

  putHostRevert(revert: HostRevert | undefined): void {
    agent.writeHostRevert(this.#db, revert);
  }

  /** Claims that have passed from a peer without a session to the one that is there now. */
  lapses(): readonly ClaimLapse[] {
    return agent.readLapses(this.#db);
  }

  /** Exchanges the whole list. */
  putLapses(lapses: readonly ClaimLapse[]): void {
    agent.writeLapses(this.#db, lapses);
  }

  /** For each peer, the node IPs that one of its handshakes came from. */
  nodeIPProofs(): Map<string, Set<string>> {
    return proofs.readNodeIPProofs(this.#db);
  }

  /** The generation stays if all of them are known. */
  putNodeIPProofs(list: readonly proofs.NodeIPProof[]): void {
    proofs.writeNodeIPProofs(this.#db, list);
  }

  /** Returns the hosts of the cluster, which no peer may claim. */
  clusterHosts(): ClusterHosts {
    return agent.readClusterHosts(this.#db);
  }

  /** The generation stays if they are the same. */
  putClusterHosts(hosts: ClusterHosts): void {
    agent.writeClusterHosts(this.#db, hosts);
  }

  /** Returns the prefixes of this node's pods that other nodes can read; kept if an ADD may wait for it. */
  announced(): readonly string[] {
    return agent.readAnnounced(this.#db);
  }

  putAnnounced(prefixes: readonly string[]): void {
    agent.writeAnnounced(this.#db, prefixes);
  }

  /** Files of the watched directory that were not taken, by name. */
  rejectedRecords(): RejectedRecord[] {
    return agent.readRejectedRecords(this.#db);
  }

  /** Exchanges the whole list. */
  putRejectedRecords(refused: readonly RejectedRecord[]): void {
    agent.writeRejectedRecords(this.#db, refused);
  }

  findAttachment(owner: Owner): Attachment | undefined {
    return attachments.findAttachment(this.#db, owner);
  }

  /** True if an attachment of another owner has the address too. */
  isHeldByAnother(owner: Owner, ip: string): boolean {
    return attachments.isHeldByAnother(this.#db, owner, ip);
  }

  attachments(network?: string): Attachment[] {
    return attachments.readAttachments(this.#db, network);
  }

  /** Returns the addresses of all attachments. */
  podIPs(): string[] {
    return attachments.readPodIPs(this.#db);
  }

  /** True if a pod is there that we are the main plugin of. */
  hasStandalonePods(): boolean {
    return attachments.hasStandalone(this.#db);
  }

  /** Adds, or replaces the one of the same owner. */
  putAttachment(attachment: Attachment): void {
    attachments.writeAttachment(this.#db, attachment);
  }

  /** Removes the attachment and its leases; false if there is none. */
  removeAttachment(owner: Owner): boolean {
    return this.#db.join(() => {
      leases.deleteLeases(this.#db, owner);
      return attachments.deleteAttachment(this.#db, owner);
    });
  }

  isLeased(network: string, ip: string): boolean {
    return leases.isLeased(this.#db, network, ip);
  }

  /** The address after which ipam/allocate.ts continues. */
  lastLease(network: string, rangeSet: number): string | undefined {
    return leases.findLastLease(this.#db, network, rangeSet);
  }

  /** Call in the transaction that asked `isLeased` and that puts the owner's attachment. */
  putLease(lease: Lease): void {
    leases.insertLease(this.#db, lease);
  }

  /** Gives back the owner's addresses; returns them. */
  releaseLeases(owner: Owner): string[] {
    return leases.deleteLeases(this.#db, owner);
  }

  leases(network?: string): Lease[] {
    return leases.readLeases(this.#db, network);
  }

  leasesOf(owner: Owner): Lease[] {
    return leases.readLeasesOf(this.#db, owner);
  }

  /** Keeps the first value saved for a path. */
  saveSysctl(path: string, before: string): void {
    sysctls.insertSysctl(this.#db, { path, before });
  }

  savedSysctls(): SavedSysctl[] {
    return sysctls.readSysctls(this.#db);
  }

  /** Forgets a saved value, after it has been restored. */
  forgetSysctl(path: string): void {
    sysctls.deleteSysctl(this.#db, path);
  }
}
