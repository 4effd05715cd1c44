// Node records through the Kubernetes API. The store's peers become what the API shows, and this
// node's record is written to it. The agent's loop does not wait for the network: events change a
// map, and the next reconcile pass reads it.
//
//   list, watch ─► map ─► reconcile pass ─► store's peers
//   store's identity ─► reconcile pass ─► one request at a time ─► map
//
// An outage of any length changes nothing: peers stay as they are until the API can be watched again.

import type { StatusFacts } from "../../kube/conditions.ts";
import { type ExternalEdits, planExternalEdits } from "../../kube/external-edits.ts";
import type { NodeObject } from "../../kube/node.ts";
import { objectLabel, type RecordObject } from "../../kube/object.ts";
import { type PeerRemovalPlan, planPeerRemovals } from "../../kube/peer-removals.ts";
import { explainRejected, findTakenSlots, obstacleNames, recordsToPut } from "../../kube/peers.ts";
import type { Credentials } from "../../kubeclient/client.ts";
import { KubeCredentials } from "../../kubeclient/credentials.ts";
import { usualTiming, type WatchTiming } from "../../kubeclient/reflector.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import type { Absences } from "../../plan/absence.ts";
import type { Store } from "../../state/store.ts";
import type { KubernetesFacts } from "../../telemetry/facts.ts";
import type { Log } from "../../telemetry/log.ts";
import type { SetDeadline } from "../deadline.ts";
import { ProofQueue } from "../proof-queue.ts";
import type { RejectedRecords } from "../rejected-records.ts";
import type { Publication } from "./publisher.ts";
import { type ClusterAnswer, KubeSession, type MeshAnswer } from "./session.ts";

/** A server under load may need more than ten seconds for an answer. */
const requestMs = 30_000;
/** Bounds the lines of one kind in one pass; `peer list` shows all of them. */
const maxLogLines = 5;

export interface KubeSourceOptions {
  readonly log: Log;
  readonly rejected: RejectedRecords;
  readonly version: string;
  /** Is called after an event or an answer: call `refresh` soon. */
  readonly onChange: () => void;
  /** Asks for another `refresh` at that time, even if nothing changes; undefined removes the deadline. */
  readonly setDeadline: SetDeadline;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  readonly random: () => number;
  /** Makes the credentials from the setting `kubeconfig`. */
  readonly credentials?: (kubeconfig: string) => Credentials;
  readonly timing?: WatchTiming;
}

export interface KubeReport {
  /** This node's Node object; "unknown" before the first answer and without a kubeconfig. */
  readonly node: NodeObject | "absent" | "unknown";
  /** The WireGuardMesh object; "unknown" also without a kubeconfig. */
  readonly mesh: MeshAnswer;
  readonly cluster: ClusterAnswer;
  /** A sentence, present if the data may be old. */
  readonly problem?: string;
}

/** The reasons for which this source asks for another `refresh`. */
const deadlineNames = ["removal", "edit", "publish", "status", "census", "proof"] as const;

const off: KubeReport = { node: "unknown", mesh: "unknown", cluster: {} };

export class KubeSource implements Disposable {
  readonly #proofs: ProofQueue;
  #session: KubeSession | undefined;
  #kubeconfig = "";
  /** Peers that came from the API, as of the last comparison with the store. */
  #known = new Set<string>();
  #absences: Absences = new Map();
  #edits: ExternalEdits = new Map();
  /** Generation of the store and number of lists when the sources of all peers were last compared. */
  #compared: { readonly generation: number; readonly lists: number } | undefined;
  #problem: string | undefined;
  #publishProblem: string | undefined;
  #isPublished = false;
  /** True once the store has all peers of the first list. */
  #isComplete = false;
  #isReporting = false;
  #doubt: string | undefined;
  #lastRejected = new Map<string, string>();

  constructor(
    private readonly store: Store,
    private readonly options: KubeSourceOptions,
  ) {
    this.#proofs = new ProofQueue(store, options.now);
  }

  [Symbol.dispose](): void {
    this.#session?.[Symbol.dispose]();
  }

  /** Undefined if there is no kubeconfig. */
  get facts(): KubernetesFacts | undefined {
    if (this.#session === undefined) return undefined;
    return { watching: this.#session.objects.isCurrent, published: this.#isPublished };
  }

  /** `place`: the setting `kubeconfig`; `nodeName`: this node's. Throws StoreError. */
  refresh(kubeconfig: string, nodeName: string | undefined): KubeReport {
    const session = this.#openSession(kubeconfig, nodeName);
    if (session === undefined) return off;
    if (session.objects.lists > 0) this.#updateStore(session);
    const resolved = "the Kubernetes API can be watched again";
    this.#problem = this.#reportOnChange(this.#problem, explainOutage(session.problem), resolved);
    this.#storeRejected();
    const { node, mesh, cluster } = session;
    return { node, mesh, cluster, ...(this.#problem === undefined ? {} : { problem: this.#problem }) };
  }

  /** Publishes this node's record if the API does not have it; returns at once. Throws StoreError. */
  publish(record: NodeRecord): Publication {
    if (this.#session === undefined) return { done: true };
    // A node that encrypts to us must not find us without its key.
    if (!this.#isComplete) return { done: false };
    const publication = this.#session.publish(record);
    const resolved = "this node's record can be published again";
    this.#publishProblem = this.#reportOnChange(this.#publishProblem, publication.problem, resolved);
    this.#setDeadline("publish", publication.wakeInMs);
    if (publication.done && !this.#isPublished) this.options.log.info("this node's record is published");
    this.#isPublished = publication.done;
    this.#storeRejected();
    return publication;
  }

  /** Finds the slots whose keys the API would refuse, because another record names them. */
  takenSlots(record: NodeRecord): Slot[] {
    if (this.#session === undefined || !this.#isComplete || this.#isPublished) return [];
    return findTakenSlots(this.#session.objects.objects.values(), record);
  }

  /** Reports at intervals how this node sees its peers; `read` is called only when a report is due. */
  report(name: string, read: () => StatusFacts): void {
    if (this.#session === undefined || !this.#isPublished) return;
    const restsForMs = this.#session.report(name, read);
    // Only the first report needs an alarm; later the agent reconciles often enough.
    if (!this.#isReporting) this.#setDeadline("status", restsForMs);
    this.#isReporting = true;
  }

  /** True if the node's Node object confirms what its record claims. */
  isGiven(name: string, claim: string, kind: "node IP" | "pod CIDR"): boolean {
    return this.#session?.isGiven(name, claim, kind) ?? false;
  }

  /** Removes the start-up taint once this node's record is published and the mode is known. */
  removeStartupTaint(): void {
    const mesh = this.#session?.mesh;
    if (this.#isPublished && mesh !== "pending" && mesh !== "unknown") this.#session?.removeStartupTaint();
  }

  /** Opens a new session if the kubeconfig or this node's name has changed since the last pass. */
  #openSession(kubeconfig: string, nodeName: string | undefined): KubeSession | undefined {
    const before = this.#session;
    if (before !== undefined && kubeconfig === this.#kubeconfig && nodeName === before.nodeName)
      return before;
    if (before === undefined && kubeconfig === "") return undefined;
    before?.[Symbol.dispose]();
    this.#forget();
    this.#kubeconfig = kubeconfig;
    this.#session = kubeconfig === "" ? undefined : this.#connect(kubeconfig, nodeName);
    // Without a source the peers stay, as if they had been imported.
    if (kubeconfig === "") this.#release();
    return this.#session;
  }

  #connect(kubeconfig: string, nodeName: string | undefined): KubeSession {
    const { now, wallClock, random, onChange, version, timing = usualTiming } = this.options;
    const credentials = this.options.credentials ?? ((where) => new KubeCredentials(where, process.env));
    return new KubeSession(nodeName, {
      ...{ now, wallClock, random, onChange, timing, requestMs },
      credentials: credentials(kubeconfig),
      log: this.options.log,
      userAgent: `wg-cni/${version}`,
    });
  }

  #forget(): void {
    this.#known = new Set();
    this.#absences = new Map();
    this.#edits = new Map();
    this.#compared = undefined;
    this.#problem = undefined;
    this.#publishProblem = undefined;
    this.#isPublished = false;
    this.#isReporting = false;
    this.#doubt = undefined;
    this.#lastRejected = new Map();
    this.#isComplete = false;
    for (const name of deadlineNames) this.#setDeadline(name, undefined);
  }

  #setDeadline(name: (typeof deadlineNames)[number], inMs: number | undefined): void {
    this.options.setDeadline(`kube ${name}`, inMs);
  }

  #release(): void {
    const mine = this.store.peers().filter(({ source }) => source === "kube");
    this.store.putPeers(
      mine.map(({ record }) => record),
      "import",
    );
    this.#storeRejected();
  }

  /** Makes the store agree with the map. */
  #updateStore(session: KubeSession): void {
    const { store } = this;
    const { census } = session;
    const { objects, lists, changed } = session.objects;
    this.#setDeadline("census", census.refresh(objects, session.nodeName));
    const generation = store.generation;
    const isListed = this.#compared?.lists !== lists;
    // An operator may have removed a peer or imported another record of it.
    const lost = this.#compared?.generation === generation && !isListed ? [] : this.#findLost(objects);
    const names = new Set([...lost, ...changed, ...census.changed, ...this.#edits.keys()]);
    const isCounted = (object: RecordObject) => census.presenceOf(object) === "present";
    const candidates = [...names].flatMap((name) => objects.get(name) ?? []).filter(isCounted);
    const edited = planExternalEdits({
      changed: candidates,
      known: this.#known,
      edits: this.#edits,
      nowMs: this.options.now(),
    });
    const put = recordsToPut(edited.take, session.nodeName, this.#known);
    const areVerified = this.#proofs.verify(put);
    this.#setDeadline("proof", areVerified ? undefined : 0);
    if (!areVerified) return;
    const gone = this.#planRemovals(session);
    const after = this.#write(put, gone.remove) ?? generation;
    for (const name of gone.remove) this.#known.delete(name);
    for (const { name } of put) this.#known.add(name);
    session.objects.forgetChanged();
    census.forgetChanged();
    this.#isComplete = census.hasAnswered;
    this.#compared = { generation: after, lists };
    this.#absences = gone.absences;
    this.#edits = edited.edits;
    this.#setDeadline("removal", gone.wakeInMs);
    this.#setDeadline("edit", edited.wakeInMs);
    this.#doubt = this.#reportOnChange(this.#doubt, gone.doubt, "the API has the records of the peers again");
    if (isListed) this.options.log.info("the API's records were read", { records: objects.size });
    this.#logChange(isListed ? [] : put, gone.remove);
  }

  /** Finds objects without a peer in the store, or with a peer of another source. */
  #findLost(objects: ReadonlyMap<string, RecordObject>): string[] {
    const sources = this.store.peerSources();
    this.#known = new Set([...sources.keys()].filter((name) => sources.get(name) === "kube"));
    return [...objects.keys()].filter((name) => !this.#known.has(name));
  }

  /** Returns the generation after the write, or undefined if there was nothing to write. */
  #write(put: readonly NodeRecord[], remove: readonly string[]): number | undefined {
    const { store } = this;
    if (put.length + remove.length === 0) return undefined;
    return store.transaction(() => {
      for (const name of remove) store.removePeer(name);
      store.putPeers(put, "kube", this.#proofs.isProven);
      return store.generation;
    });
  }

  /** Peers leave only while the API is watched, because otherwise a missing event looks like a deleted object. */
  #planRemovals({ objects: { objects, isCurrent }, census, nodeName }: KubeSession): PeerRemovalPlan {
    if (!isCurrent) return { remove: [], absences: new Map() };
    const isPresent = (name: string) => {
      const object = objects.get(name);
      if (object === undefined || name === nodeName) return false;
      const presence = census.presenceOf(object);
      return presence === undefined || presence === "present";
    };
    return planPeerRemovals({
      known: this.#known,
      isPresent,
      absences: this.#absences,
      nowMs: this.options.now(),
    });
  }

  /** Returns the present problem; logs a problem that has appeared, changed or been resolved. */
  #reportOnChange(before: string | undefined, now: string | undefined, resolved: string): string | undefined {
    if (now === before) return now;
    if (now === undefined) this.options.log.info(resolved);
    else this.options.log.warn(now);
    return now;
  }

  /** Stores the rejected records and the problems that concern all records. */
  #storeRejected(): void {
    const session = this.#session;
    const nodeName = session?.nodeName;
    const objects = session?.objects.objects.values() ?? [];
    const presenceOf = (object: RecordObject) => session?.census.presenceOf(object);
    const refused = explainRejected(objects, nodeName, this.#known, presenceOf);
    this.#logFew(
      refused.filter(({ file, reason }) => this.#lastRejected.get(file) !== reason),
      ({ file, reason }) => this.options.log.warn("record rejected", { file, reason }),
    );
    this.#lastRejected = new Map(refused.map(({ file, reason }) => [file, reason]));
    const inTheWay: readonly (readonly [string, string | undefined])[] = [
      [obstacleNames.outage, this.#problem],
      [obstacleNames.doubt, this.#doubt],
      [objectLabel(nodeName ?? ""), this.#publishProblem],
    ];
    const whole = inTheWay.flatMap(([file, reason]) => (reason === undefined ? [] : [{ file, reason }]));
    this.options.rejected.put("kube", [...whole, ...refused]);
  }

  #logChange(put: readonly NodeRecord[], remove: readonly string[]): void {
    const { log } = this.options;
    this.#logFew(put, ({ name }) => log.info("record accepted", { peer: name }));
    this.#logFew(remove, (name) => log.info("record deleted, peer removed", { peer: name }));
  }

  #logFew<T>(items: readonly T[], log: (item: T) => void): void {
    for (const item of items.slice(0, maxLogLines)) log(item);
    if (items.length > maxLogLines)
      this.options.log.info(`and ${items.length - maxLogLines} more; \`wg-cni peer list\` has them all`);
  }
}

function explainOutage(problem: string | undefined): string | undefined {
  return problem === undefined ? undefined : `${problem.replace(/[.\s]*$/, "")}. The peers stay as they are.`;
}
