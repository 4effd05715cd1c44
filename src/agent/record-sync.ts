// What this node and the others let each other know, in both directions: records by a
// folder or by the Kubernetes API, and what that API says of this node and of the
// whole mesh. What comes in goes into the store; what goes out is from the store.
import type { StatusFacts } from "../kube/status.ts";
import type { CidrRefusal } from "../plan/peers/cluster-cidrs.ts";
import { describePod } from "../plan/pods/local-pods.ts";
import { followPlaintext, type PlaintextWindow } from "../plan/report/plaintext-window.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { ownRecord, readSettings, withdrawnRecord } from "../reconcile/node.ts";
import type { Session } from "../reconcile/session.ts";
import { RecordsFolder } from "../sources/directory/source.ts";
import { refuseClusterCIDRs } from "../sources/kube/cluster-cidrs.ts";
import { followClusterHosts } from "../sources/kube/cluster-hosts.ts";
import { NodeFollower } from "../sources/kube/identity.ts";
import { ModeFollower } from "../sources/kube/mode.ts";
import { KubeSource } from "../sources/kube/source.ts";
import { describeMesh, type Seen, type View } from "../sources/node-view.ts";
import { addMissingProofs, replaceTakenKeys } from "../sources/own-keys.ts";
import { PodFollower } from "../sources/pod-addresses.ts";
import { RejectedRecords } from "../sources/rejected-records.ts";
import type { Identity, StoredPeer } from "../state/model.ts";
import type { KubernetesFacts } from "../telemetry/facts.ts";
import type { Log } from "../telemetry/log.ts";

export interface ExchangeOptions {
  readonly log: Log;
  readonly version: string;
  /** Name of the Kubernetes Node that this node's identity comes from; absent where `up` has given it one. */
  readonly node?: string;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** Others were heard of: call `takeIn` soon. */
  readonly onChange: () => void;
}

/** How this node sees the others now. */
export interface Sighting
  extends Omit<Seen, "plaintextWindow" | "unknownPods" | "refusedCIDRs" | "meshRemark"> {
  /** As the last sync left them out. */
  readonly refusedCIDRs: readonly CidrRefusal[];
  readonly view: View | undefined;
}

export class Exchange implements Disposable {
  readonly #records: RecordsFolder;
  readonly #kube: KubeSource;
  readonly #mode: ModeFollower;
  readonly #follower: NodeFollower | undefined;
  readonly #pods: PodFollower;
  #plaintextWindow: PlaintextWindow | undefined;
  #published: string | undefined;

  constructor(
    private readonly session: Session,
    private readonly options: ExchangeOptions,
  ) {
    const { log, version, node, wallClock, onChange } = options;
    const { store } = session;
    const refused = new RejectedRecords(store);
    const now = () => performance.now();
    this.#records = new RecordsFolder(store, { log, refused, onChange, now });
    this.#kube = new KubeSource(store, {
      ...{ log, refused, version, onChange, now, wallClock, random: Math.random },
    });
    this.#mode = new ModeFollower(store, log, refused, (cidrs) => refuseClusterCIDRs(session, cidrs));
    this.#pods = new PodFollower(session);
    this.#follower =
      node === undefined ? undefined : new NodeFollower(session, { node, log, refused, wallClock });
  }

  [Symbol.dispose](): void {
    for (const part of [this.#kube, this.#records]) part[Symbol.dispose]();
  }

  /** Undefined where records are not kept in the Kubernetes API. */
  get kubernetes(): KubernetesFacts | undefined {
    return this.#kube.facts;
  }

  /** Follows the pods whose addresses this node announces. */
  get pods(): PodFollower {
    return this.#pods;
  }

  /** This node's record as the others can read it, as JSON; undefined where they cannot. */
  get published(): string | undefined {
    return this.#published;
  }

  /** Brings the store to what was heard; true where other pods are to be announced. Throws StoreError, NotUpError, NetlinkError, SysError. */
  takeIn(): boolean {
    const { store } = this.session;
    const { kubeconfig } = readSettings(store);
    const heard = this.#kube.refresh(kubeconfig, this.options.node ?? store.identity()?.name);
    followClusterHosts(store, kubeconfig, heard.cluster, process.env);
    // First: a node that has just come begins in the cluster's mode.
    this.#mode.follow(heard.mesh);
    const settings = readSettings(store);
    this.#follower?.follow(heard, settings);
    const tookPods = this.#pods.follow(settings);
    this.#records.refresh(settings.recordsDir, store.identity()?.name);
    return tookPods;
  }

  /** What could not be written is tried again at every look that is not idle; what is seen of the others changes at any. */
  publish(isIdle: boolean, asks: readonly string[], look: () => Sighting): void {
    const { store } = this.session;
    const identity = store.identity();
    if (identity === undefined) return;
    const settings = readSettings(store);
    if (!isIdle) this.#publishRecord(identity, settings, asks);
    this.#kube.report(identity.name, () => this.#describe(identity, settings, look()));
  }

  /** True if the source of a peer's record gives it what it claims: its Node object, or its file in the directory. */
  isGiven(
    { record, source }: Pick<StoredPeer, "record" | "source">,
    claim: string,
    kind: "node IP" | "pod CIDR",
  ): boolean {
    return source === "directory" || (source === "kube" && this.#kube.isGiven(record.name, claim, kind));
  }

  /** This node is ready for pods. */
  welcomePods(): void {
    this.#kube.welcomePods();
  }

  /** `asks`: peers that are asked to begin a handshake. They are no part of what this node is, so only the others' copy has them. */
  #publishRecord(identity: Identity, settings: Settings, asks: readonly string[]): void {
    const isThere = identity.up && identity.leaving === undefined;
    const record = isThere ? ownRecord(identity, settings) : withdrawnRecord(identity, settings);
    const published = isThere && asks.length > 0 ? { ...record, wantsHandshakeFrom: asks } : record;
    const { log, wallClock, onChange } = this.options;
    const { store } = this.session;
    if (
      replaceTakenKeys(store, this.#kube.takenSlots(published), log, wallClock()) ||
      addMissingProofs(store, identity, log)
    ) {
      onChange();
      return;
    }
    const { problem } = this.#records.publish(published);
    const { done } = this.#kube.publish(published);
    const isPublished = done && problem === undefined;
    this.#published = isPublished ? JSON.stringify(record) : undefined;
    if (isPublished && settings.publishWait > 0) store.putAnnounced(record.podCIDRs);
  }

  /** Counters of thousands of peers are read only when the API is to be told. */
  #describe(identity: Identity, settings: Settings, { view, ...seen }: Sighting): StatusFacts {
    const plaintext = this.session.readPlaintext(view?.ownership.peers ?? []);
    this.#plaintextWindow = followPlaintext(this.#plaintextWindow, plaintext.byPeer, seen.nowMs);
    const refusedCIDRs = seen.refusedCIDRs.map(({ reason }) => reason);
    const meshRemark = this.#mode.remark;
    const unknownPods = this.#pods.unknown(settings).map(describePod);
    return describeMesh(view, identity, settings.mode, {
      ...{ ...seen, plaintextWindow: this.#plaintextWindow, unknownPods, meshRemark },
      refusedCIDRs: [...(meshRemark === "" ? [] : [meshRemark]), ...refusedCIDRs],
    });
  }
}
