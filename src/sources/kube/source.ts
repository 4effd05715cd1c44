// The Kubernetes API as a source of records: WireGuardNode objects, which count while their Nodes exist.
// An outage of any length changes nothing: peers stay as they are until the API can be watched again.
//
//   list, watch ─► reflector ─► snapshot ─► store's peers
//   store's identity ─► publish ─► one request at a time ─► reflector

import type { Presence } from "../../kube/census.ts";
import type { StatusFacts } from "../../kube/conditions.ts";
import { KubeError } from "../../kube/error.ts";
import type { NodeObject } from "../../kube/node-object.ts";
import {
  formatObject,
  isPublished,
  isSameRecord,
  judgeObject,
  objectLabel,
  objectsPath,
  type RecordObject,
} from "../../kube/object.ts";
import { apiAbsences, findTakenSlots, obstacleNames, toEntry } from "../../kube/record-entries.ts";
import type { Credentials } from "../../kubeclient/client.ts";
import { KubeCredentials } from "../../kubeclient/credentials.ts";
import { Reflector, usualTiming, type WatchTiming } from "../../kubeclient/reflector.ts";
import { Backoff } from "../../net/backoff.ts";
import { messageOf } from "../../net/error.ts";
import { withoutFullStop } from "../../net/human-format.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import type { RecordEntry } from "../../plan/records/peer-changes.ts";
import type { Store } from "../../state/store.ts";
import type { Log } from "../../telemetry/log.ts";
import { Publisher } from "../publisher.ts";
import type {
  Publication,
  RecordSnapshot,
  RecordSource,
  SourceLabels,
  SourceStatus,
} from "../record-source.ts";
import { NodeCensus } from "./node-census.ts";
import { type ClusterAnswer, KubeSession, type MeshAnswer, nodesPath } from "./session.ts";
import { StatusWriter } from "./status-writer.ts";

/** A server under load may need more than ten seconds for an answer. */
const requestMs = 30_000;

export interface KubeSourceOptions {
  readonly log: Log;
  readonly version: string;
  /** Is called after an event or an answer. */
  readonly onChange: () => void;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  readonly random: () => number;
  /** Makes the credentials from the setting `kubeconfig`. */
  readonly credentials?: (kubeconfig: string) => Credentials;
  readonly timing?: WatchTiming;
}

/** The API's facts apart from the records. */
export interface ClusterFacts {
  /** This node's Node object; "unknown" before the first answer and without a kubeconfig. */
  readonly node: NodeObject | "absent" | "unknown";
  /** The WireGuardMesh object; "unknown" also without a kubeconfig. */
  readonly mesh: MeshAnswer;
  readonly cluster: ClusterAnswer;
  /** A sentence, present if the data may be old. */
  readonly problem?: string;
}

export const noCluster: ClusterFacts = { node: "unknown", mesh: "unknown", cluster: {} };

interface CachedEntry {
  readonly object: RecordObject;
  readonly presence: Presence | undefined;
  readonly entry: RecordEntry;
}

/** A record as the API gets it, with the UID of the Node that owns it. */
interface OwnedRecord {
  readonly record: NodeRecord;
  readonly nodeUid: string;
}

export class KubeSource implements RecordSource {
  readonly name = "kube";
  readonly labels: SourceLabels;
  readonly #ended = new AbortController();
  readonly #session: KubeSession;
  readonly #objects: Reflector<RecordObject>;
  /** Finds out which of the records' Nodes exist. */
  readonly #census: NodeCensus;
  readonly #publisher: Publisher<OwnedRecord>;
  readonly #status: StatusWriter;
  #cached: ReadonlyMap<string, CachedEntry> = new Map();
  /** The entries of the last snapshot; undefined if they may have changed. */
  #entries: ReadonlyMap<string, RecordEntry> | undefined;
  #listsLogged = 0;
  /** The status of this node's object in the API. */
  #ownStatus: unknown;
  #isReporting = false;

  /** `nodeName`: undefined if this node has no name yet; then the source only reads. */
  constructor(
    kubeconfig: string,
    private readonly nodeName: string | undefined,
    options: KubeSourceOptions,
  ) {
    const { log, version, now, random, onChange, timing = usualTiming } = options;
    const credentials = options.credentials ?? ((where) => new KubeCredentials(where, process.env));
    const { outage, doubt } = obstacleNames;
    this.labels = { place: outage, records: doubt, own: objectLabel(nodeName ?? "") };
    const session = new KubeSession(nodeName, {
      ...{ ...options, timing, requestMs, credentials: credentials(kubeconfig) },
      userAgent: `wg-cni/${version}`,
    });
    const { client, watching } = session;
    this.#session = session;
    this.#objects = new Reflector({
      ...{ ...watching, path: objectsPath, isSame: isSameRecord },
      read: (json: unknown) => this.#read(json),
      onChange: () => {
        this.#logList(log);
        this.#entries = undefined;
        onChange();
      },
    });
    this.#census = new NodeCensus({
      ...{ client, now, random, retries: timing.retries, path: nodesPath },
      onAnswer: () => {
        this.#entries = undefined;
        onChange();
      },
    });
    this.#publisher = new Publisher({
      ...{ log, now, onAnswer: onChange, explain: explainRefusal },
      compare: ({ record, nodeUid }) =>
        isPublished(this.#objects.objects.get(record.name), record, nodeUid) ? "same" : "other",
      write: (owned) => this.#write(owned),
      backoff: new Backoff(timing.retries, random),
      retryAfterMs: (error) => (error instanceof KubeError ? error.failure.retryAfterMs : undefined),
      explainRace: () =>
        `Another client overwrites WireGuardNode ${nodeName} repeatedly: is there another node with the name ${nodeName}, or a tool that applies an old copy?`,
    });
    this.#status = new StatusWriter({ ...options, client });
  }

  [Symbol.dispose](): void {
    const writers = [this.#publisher, this.#status, this.#census];
    for (const part of [...writers, this.#objects, this.#session]) part[Symbol.dispose]();
    this.#ended.abort(new Error("the source was ended"));
  }

  start(): void {
    this.#objects.start();
    this.#session.start();
  }

  get status(): SourceStatus {
    const problem = this.#objects.problem ?? this.#census.problem ?? this.#session.problem;
    return {
      isCurrent: this.#objects.isCurrent,
      ...(problem === undefined ? {} : { problem: explainOutage(problem) }),
    };
  }

  snapshot(): RecordSnapshot | undefined {
    const { objects, lists } = this.#objects;
    if (lists === 0) return undefined;
    const wakeInMs = this.#census.refresh(objects, this.nodeName);
    this.#entries ??= this.#readEntries(objects);
    return {
      ...{ entries: this.#entries, rule: apiAbsences, isComplete: this.#census.hasAnswered },
      ...(wakeInMs === undefined ? {} : { wakeInMs }),
    };
  }

  /** The Node must exist, because it owns the record. */
  publish(record: NodeRecord): Publication {
    const { node } = this.#session;
    if (node === "unknown" || this.#objects.lists === 0) return { done: false };
    if (node === "absent")
      return {
        done: false,
        problem: `There is no Node ${record.name} in the cluster, which would own this node's record: it is not published. Is the name right (--node)?`,
      };
    return this.#publisher.publish({ record, nodeUid: node.uid });
  }

  get cluster(): ClusterFacts {
    const { node, mesh, cluster } = this.#session;
    const { problem } = this.status;
    return { node, mesh, cluster, ...(problem === undefined ? {} : { problem }) };
  }

  /** Finds the slots whose keys the API would refuse, because another record names them. */
  takenSlots(record: NodeRecord): Slot[] {
    return findTakenSlots(this.#objects.objects.values(), record);
  }

  /** Reports at intervals how this node sees its peers; `read` is called only when a report is due. Returns the time until the first report. */
  report(name: string, read: () => StatusFacts): number | undefined {
    this.#status.offer(name, read, this.#ownStatus, this.#objects.objects);
    // Later the agent reconciles often enough.
    if (this.#isReporting) return undefined;
    this.#isReporting = true;
    return this.#status.restsForMs;
  }

  /** True if the node's Node object confirms what its record claims. */
  isGiven(name: string, claim: string, kind: "node IP" | "pod CIDR"): boolean {
    return this.#session.isGiven(name, claim, kind);
  }

  /** Is called once this node's record is published. */
  removeStartupTaint(): void {
    this.#session.removeStartupTaint();
  }

  /** Keeps entries that say the same: after a new list, all objects are others. */
  #readEntries(objects: ReadonlyMap<string, RecordObject>): ReadonlyMap<string, RecordEntry> {
    const cached = new Map<string, CachedEntry>();
    const entries = new Map<string, RecordEntry>();
    for (const [name, object] of objects) {
      if (name === this.nodeName) continue;
      const one = renew(this.#cached.get(name), object, this.#census.presenceOf(object));
      cached.set(name, one);
      entries.set(name, one.entry);
    }
    this.#cached = cached;
    return entries;
  }

  /** Keeps the status of the own object only. */
  #read(json: unknown): RecordObject | undefined {
    const seen = judgeObject(json);
    if (seen !== undefined && seen.name === this.nodeName)
      this.#ownStatus = (json as { readonly status?: unknown }).status;
    return seen;
  }

  async #write({ record, nodeUid }: OwnedRecord): Promise<void> {
    const body = formatObject(record, nodeUid);
    const path = `${objectsPath}/${record.name}`;
    this.#objects.observeWrite(await this.#session.client.apply(path, body, this.#ended.signal));
  }

  #logList(log: Log): void {
    const { lists, objects } = this.#objects;
    if (lists !== this.#listsLogged) log.info("the API's records were read", { records: objects.size });
    this.#listsLogged = lists;
  }
}

/** Without the API, its peers stay, as if they had been imported. Throws StoreError. */
export function keepAsImported(store: Store): void {
  const peers = store.peers().filter(({ source }) => source === "kube");
  store.putPeers(
    peers.map(({ record }) => record),
    "import",
  );
}

/** Keeps the entry if it says the same; the time of the last write does not count. */
function renew(
  before: CachedEntry | undefined,
  object: RecordObject,
  presence: Presence | undefined,
): CachedEntry {
  if (before?.object === object && before.presence === presence) return before;
  const entry = toEntry(object, presence);
  const isSame = before !== undefined && before.presence === presence && isSameRecord(before.object, object);
  return { object, presence, entry: isSame ? before.entry : entry };
}

function explainOutage(problem: string): string {
  return `${withoutFullStop(problem)}. The peers stay as they are.`;
}

function explainRefusal(error: unknown): string {
  const { status } = error instanceof KubeError ? error.failure : {};
  const remedy =
    status === 404
      ? " Is the resource installed (conf/kubernetes)?"
      : status === 403
        ? " Check the agent's role and the admission policy (conf/kubernetes)."
        : "";
  return `This node's record could not be published: ${withoutFullStop(messageOf(error))}.${remedy}`;
}
