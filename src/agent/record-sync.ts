// Brings the records of all sources into the store, and publishes this node's record in them. From the
// Kubernetes API it also takes what the API says about this node and the whole mesh.
import type { StatusFacts } from "../kube/conditions.ts";
import type { NodeRecord, Slot } from "../net/record.ts";
import type { CidrRefusal } from "../plan/peers/cluster-cidrs.ts";
import { describePod } from "../plan/pods/local-pods.ts";
import { plaintextWindow } from "../plan/report/plaintext-evidence.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { ownRecord, readSettings, withdrawnRecord } from "../reconcile/node-reader.ts";
import type { Session } from "../reconcile/session.ts";
import { DirectorySource } from "../sources/directory/source.ts";
import { followClusterHosts, refuseClusterCIDRs } from "../sources/kube/cluster-addresses.ts";
import { NodeFollower } from "../sources/kube/identity.ts";
import { ModeFollower } from "../sources/kube/mode.ts";
import { KubeSource, keepAsImported, noCluster } from "../sources/kube/source.ts";
import { describeMesh, type PeerKnowledge, type View } from "../sources/node-view.ts";
import { addMissingProofs, replaceTakenKeys } from "../sources/own-keys.ts";
import { PodAddresses } from "../sources/pod-addresses.ts";
import type { RecordSource } from "../sources/record-source.ts";
import { RejectedRecords } from "../sources/rejected-records.ts";
import { SourceSetting } from "../sources/source-setting.ts";
import type { Identity, StoredPeer } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { KubernetesFacts } from "../telemetry/facts.ts";
import type { Log } from "../telemetry/log.ts";
import type { SetDeadline } from "./deadlines.ts";

export interface RecordSyncOptions {
  readonly log: Log;
  readonly version: string;
  /** The name of the Kubernetes Node that this node's identity comes from; absent if `up` has set the identity. */
  readonly node?: string;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** A source has changed: call `ingest` soon. */
  readonly onChange: () => void;
  /** A source wants `ingest` at that time, even if it does not change. */
  readonly setDeadline: SetDeadline;
}

/** The current observations of this node about its peers. */
export interface MeshObservation
  extends Omit<PeerKnowledge, "plaintextWindow" | "unknownPods" | "refusedCIDRs" | "meshWarning"> {
  /** The cluster CIDRs that the last sync left out. */
  readonly refusedCIDRs: readonly CidrRefusal[];
  readonly view: View | undefined;
}

export class RecordSync implements Disposable {
  readonly #directory: SourceSetting<DirectorySource>;
  readonly #kube: SourceSetting<KubeSource>;
  readonly #mode: ModeFollower;
  readonly #follower: NodeFollower | undefined;
  readonly #pods: PodAddresses;
  #published: string | undefined;

  constructor(
    private readonly session: Session,
    private readonly options: RecordSyncOptions,
  ) {
    const { log, version, node, wallClock, onChange } = options;
    const { store } = session;
    const rejected = new RejectedRecords(store);
    const now = () => performance.now();
    const common = { log, rejected, now };
    this.#directory = new SourceSetting(store, {
      ...{ ...common, name: "directory" },
      make: (directory, ownName) =>
        new DirectorySource(directory, ownName, { log, now, onChange, peers: () => peersOf(store) }),
    });
    this.#kube = new SourceSetting(store, {
      ...{ ...common, name: "kube", onOff: () => keepAsImported(store) },
      make: (kubeconfig, ownName) =>
        new KubeSource(kubeconfig, ownName, {
          ...{ log, version, onChange, now, wallClock, random: Math.random },
        }),
    });
    this.#mode = new ModeFollower(store, log, rejected, (cidrs) => refuseClusterCIDRs(session, cidrs));
    this.#pods = new PodAddresses(session);
    this.#follower =
      node === undefined ? undefined : new NodeFollower(session, { node, log, rejected, wallClock });
  }

  [Symbol.dispose](): void {
    for (const part of [this.#kube, this.#directory]) part[Symbol.dispose]();
  }

  /** Undefined if records are not kept in the Kubernetes API. */
  get kubernetes(): KubernetesFacts | undefined {
    const { current } = this.#kube;
    if (current === undefined) return undefined;
    return { watching: current.source.status.isCurrent, published: current.isPublished };
  }

  /** Follows the pods whose addresses this node announces. */
  get pods(): PodAddresses {
    return this.#pods;
  }

  /** This node's record as peers can read it, as JSON; undefined if they cannot read it. */
  get published(): string | undefined {
    return this.#published;
  }

  /** Writes what the sources know into the store; true if the announced pods have changed. Throws StoreError, NotUpError, NetlinkError, SysError. */
  ingest(): boolean {
    const { store } = this.session;
    const { kubeconfig } = readSettings(store);
    this.#ingest(this.#kube, kubeconfig, this.options.node ?? store.identity()?.name);
    const facts = this.#kube.current?.source.cluster ?? noCluster;
    followClusterHosts(store, kubeconfig, facts.cluster, process.env);
    // The mode goes first: a new node begins in the cluster's mode.
    this.#mode.follow(facts.mesh);
    const settings = readSettings(store);
    this.#follower?.follow(facts, settings);
    const tookPods = this.#pods.update(settings);
    this.#ingest(this.#directory, settings.recordsDir, store.identity()?.name);
    return tookPods;
  }

  /** Publishes the record unless the pass is idle, so that a failed write is tried again, and the node's observations in any pass. */
  publish(isIdle: boolean, asks: readonly string[], observe: () => MeshObservation): void {
    const { store } = this.session;
    const identity = store.identity();
    if (identity === undefined) return;
    const settings = readSettings(store);
    if (!isIdle) this.#publishRecord(identity, settings, asks);
    const { current } = this.#kube;
    if (current?.isPublished !== true) return;
    const firstInMs = current.source.report(identity.name, () =>
      this.#describe(identity, settings, observe()),
    );
    if (firstInMs !== undefined) this.options.setDeadline("kube status", firstInMs);
  }

  /** True if the source of a peer's record gives it what it claims: its Node object, or its file in the directory. */
  isGiven(
    { record, source }: Pick<StoredPeer, "record" | "source">,
    claim: string,
    kind: "node IP" | "pod CIDR",
  ): boolean {
    if (source !== "kube") return source === "directory";
    return this.#kube.current?.source.isGiven(record.name, claim, kind) ?? false;
  }

  /** This node is ready for pods, so its startup taint goes, once its record is published. */
  removeStartupTaint(): void {
    const { current } = this.#kube;
    if (current?.isPublished === true) current.source.removeStartupTaint();
  }

  #ingest(setting: SourceSetting<RecordSource>, place: string, ownName: string | undefined): void {
    this.options.setDeadline(`${setting.name} records`, setting.ingest(place, ownName));
  }

  /** `asks`: the peers that are asked to initiate a handshake. They are not part of this node's identity, so only the published copy has them. */
  #publishRecord(identity: Identity, settings: Settings, asks: readonly string[]): void {
    const isThere = identity.up && identity.leaving === undefined;
    const record = isThere ? ownRecord(identity, settings) : withdrawnRecord(identity, settings);
    const published = isThere && asks.length > 0 ? { ...record, wantsHandshakeFrom: asks } : record;
    const { log, wallClock, onChange } = this.options;
    const { store } = this.session;
    if (
      replaceTakenKeys(store, this.#takenSlots(published), log, wallClock()) ||
      addMissingProofs(store, identity, log)
    ) {
      onChange();
      return;
    }
    const sources = [this.#directory, this.#kube];
    const isPublished = sources.map((source) => this.#publish(source, published)).every(Boolean);
    this.#published = isPublished ? JSON.stringify(record) : undefined;
    if (isPublished && settings.publishWait > 0) store.putAnnounced(record.podCIDRs);
  }

  /** Returns true once peers can read the record. */
  #publish(setting: SourceSetting<RecordSource>, record: NodeRecord): boolean {
    const { done, wakeInMs } = setting.publish(record);
    this.options.setDeadline(`${setting.name} publishing`, wakeInMs);
    return done;
  }

  /** Finds the slots whose keys the API would refuse. */
  #takenSlots(record: NodeRecord): readonly Slot[] {
    const { current } = this.#kube;
    if (current === undefined || !current.isComplete || current.isPublished) return [];
    return current.source.takenSlots(record);
  }

  /** Looks at every pod and peer, so it is called only when the API gets a status. */
  #describe(identity: Identity, settings: Settings, { view, ...observed }: MeshObservation): StatusFacts {
    const window = plaintextWindow(this.session.store.plaintext(), this.options.wallClock());
    const refusedCIDRs = observed.refusedCIDRs.map(({ reason }) => reason);
    const meshWarning = this.#mode.warning;
    const unknownPods = this.#pods.unknown(settings).map(describePod);
    return describeMesh(view, identity, settings.mode, {
      ...{ ...observed, plaintextWindow: window, unknownPods, meshWarning },
      refusedCIDRs: [...(meshWarning === "" ? [] : [meshWarning]), ...refusedCIDRs],
    });
  }
}

/** Names of the peers that came from the directory. */
function peersOf(store: Store): ReadonlySet<string> {
  const sources = store.peerSources();
  return new Set([...sources.keys()].filter((name) => sources.get(name) === "directory"));
}
