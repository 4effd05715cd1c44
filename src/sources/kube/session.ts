// One connection to the API: the reflectors that watch it, and the writers.

import {
  type AddressObject,
  apiEndpointsPath,
  apiEndpointsQuery,
  readEndpointSlice,
  readServiceCIDR,
  serviceCIDRsPath,
} from "../../kube/cluster.ts";
import type { StatusFacts } from "../../kube/conditions.ts";
import { type MeshObject, meshesPath, meshName, readMesh } from "../../kube/mesh.ts";
import { gives, type NodeObject, readNodeObject } from "../../kube/node.ts";
import { isOlder, isSameRecord, judgeObject, objectsPath, type RecordObject } from "../../kube/object.ts";
import { type Credentials, KubeClient } from "../../kubeclient/client.ts";
import { type CachedObject, Reflector, type WatchTiming } from "../../kubeclient/reflector.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { Log } from "../../telemetry/log.ts";
import { NodeCensus } from "./node-census.ts";
import { NodeLookup } from "./node-lookup.ts";
import { type Publication, RecordPublisher } from "./publisher.ts";
import { StatusWriter } from "./status-writer.ts";
import { TaintRemover } from "./taint.ts";

const nodesPath = "/api/v1/nodes";

export interface KubeSessionOptions {
  readonly credentials: Credentials;
  readonly userAgent: string;
  readonly log: Log;
  readonly timing: WatchTiming;
  readonly requestMs: number;
  readonly now: () => number;
  readonly wallClock: () => number;
  readonly random: () => number;
  readonly onChange: () => void;
}

/** "unknown": the API does not answer the question. */
export type MeshAnswer = MeshObject | "absent" | "pending" | "unknown";

/** The cluster's own networks and hosts; absent until the API has answered, and if it never does. */
export interface ClusterAnswer {
  readonly serviceCIDRs?: readonly string[];
  readonly endpoints?: readonly string[];
}

/** The used parts of a Node object. */
interface CachedNode extends CachedObject {
  readonly facts: NodeObject;
}

export class KubeSession implements Disposable {
  readonly objects: Reflector<RecordObject>;
  readonly #node: Reflector<CachedNode> | undefined;
  readonly #mesh: Reflector<MeshObject>;
  readonly #services: Reflector<AddressObject>;
  readonly #endpoints: Reflector<AddressObject>;
  readonly #publisher: RecordPublisher;
  readonly #status: StatusWriter;
  readonly #lookup: NodeLookup;
  /** Finds out which of the records' Nodes exist. */
  readonly census: NodeCensus;
  readonly #taint: TaintRemover;
  /** The status of this node's object in the API. */
  #ownStatus: unknown;

  /** `nodeName`: undefined if this node has no name yet; then the session only reads. */
  constructor(
    readonly nodeName: string | undefined,
    { credentials, userAgent, log, requestMs, timing, now, wallClock, random, onChange }: KubeSessionOptions,
  ) {
    const client = new KubeClient(credentials, { userAgent, requestMs, wallClock });
    const watching = { client, onChange, timing, random };
    const isOlderThan = (a: CachedObject, b: CachedObject) => isOlder(a.resourceVersion, b.resourceVersion);
    this.objects = new Reflector({
      ...{ ...watching, path: objectsPath, read: (json: unknown) => this.#read(json) },
      ...{ isSame: isSameRecord, isOlder: isOlderThan },
    });
    this.#publisher = new RecordPublisher({
      ...{ client, now, random, retries: timing.retries },
      onAnswer: (written) => {
        if (written !== undefined) this.objects.observeWrite(written);
        onChange();
      },
    });
    this.#lookup = new NodeLookup({ ...{ client, log, now }, path: nodesPath, onAnswer: onChange });
    this.census = new NodeCensus({
      ...{ client, now, random, retries: timing.retries },
      ...{ path: nodesPath, onAnswer: onChange },
    });
    this.#status = new StatusWriter({ client, log, now, wallClock, random });
    this.#taint = new TaintRemover({
      ...{ client, log, now, random, retries: timing.retries },
      onRemoved: (node) => this.#node?.observeWrite(node),
    });
    const only = (name: string) => ({ query: { fieldSelector: `metadata.name=${name}` } });
    if (nodeName !== undefined)
      this.#node = new Reflector<CachedNode>({
        ...{ ...watching, path: nodesPath, ...only(nodeName), read: readNode },
        isSame: (a, b) => JSON.stringify(a.facts) === JSON.stringify(b.facts),
        isOlder: isOlderThan,
      });
    this.#mesh = new Reflector<MeshObject>({
      ...{ ...watching, path: meshesPath, ...only(meshName), read: readMesh, isOptional: true },
      isSame: (a, b) => textOf(a) === textOf(b),
      isOlder: isOlderThan,
    });
    const places = {
      ...{ ...watching, isOptional: true, isOlder: isOlderThan },
      isSame: (a: AddressObject, b: AddressObject) => Bun.deepEquals(a.addresses, b.addresses),
    };
    this.#services = new Reflector({ ...places, path: serviceCIDRsPath, read: readServiceCIDR });
    this.#endpoints = new Reflector({
      ...{ ...places, path: apiEndpointsPath, query: apiEndpointsQuery, read: readEndpointSlice },
    });
    for (const watch of [this.objects, this.#node, this.#mesh, this.#services, this.#endpoints])
      watch?.start();
  }

  [Symbol.dispose](): void {
    const watches = [this.objects, this.#node, this.#mesh, this.#services, this.#endpoints];
    const writers = [this.#publisher, this.#status, this.#taint, this.#lookup, this.census];
    for (const part of [...watches, ...writers]) part?.[Symbol.dispose]();
  }

  /** This node's Node object; "unknown" before the first list. */
  get node(): NodeObject | "absent" | "unknown" {
    if (this.nodeName === undefined || this.#node === undefined || this.#node.lists === 0) return "unknown";
    return this.#node.objects.get(this.nodeName)?.facts ?? "absent";
  }

  /** "pending" until there is an answer; "absent" also if the API has no such resource. */
  get mesh(): MeshAnswer {
    const { lists, problem, objects, isMissing } = this.#mesh;
    if (lists > 0) return objects.get(meshName) ?? "absent";
    if (isMissing) return "absent";
    return problem === undefined ? "pending" : "unknown";
  }

  /** The cluster's addresses that no peer may claim. An older server, or the role of an older version, yields fewer of them. */
  get cluster(): ClusterAnswer {
    const [serviceCIDRs, endpoints] = [placesOf(this.#services), placesOf(this.#endpoints)];
    return {
      ...(serviceCIDRs === undefined ? {} : { serviceCIDRs }),
      ...(endpoints === undefined ? {} : { endpoints }),
    };
  }

  /** A sentence that says why the data may be old. */
  get problem(): string | undefined {
    const { problem, isMissing } = this.#mesh;
    return (
      this.objects.problem ?? this.#node?.problem ?? this.census.problem ?? (isMissing ? undefined : problem)
    );
  }

  /** Publishes only after the peers' records have been listed, so that no node encrypts to us before we have its key. */
  publish(record: NodeRecord): Publication {
    const { node } = this;
    if (node === "unknown" || this.objects.lists === 0) return { done: false };
    if (node === "absent")
      return {
        done: false,
        problem: `There is no Node ${record.name} in the cluster, which would own this node's record: it is not published. Is the name right (--node)?`,
      };
    return this.#publisher.publish(record, node.uid, this.objects.objects.get(record.name));
  }

  /** True if the Node object is known and confirms the claim; an unknown one is requested. */
  isGiven(name: string, claim: string, kind: "node IP" | "pod CIDR"): boolean {
    const facts = this.#lookup.find(name);
    return facts !== undefined && gives(facts, claim, kind);
  }

  /** Is called when the node is ready for pods. */
  removeStartupTaint(): void {
    const { node } = this;
    if (typeof node === "string" || node.taints === undefined) return;
    this.#taint.remove(`${nodesPath}/${node.name}`, node.taints);
  }

  /** Is called after the record is published. Returns the time until the next possible report. */
  report(name: string, read: () => StatusFacts): number {
    this.#status.offer(name, read, this.#ownStatus, this.objects.objects);
    return this.#status.restsForMs;
  }

  /** Keeps the status of the own object only. */
  #read(json: unknown): RecordObject | undefined {
    const seen = judgeObject(json);
    if (seen !== undefined && seen.name === this.nodeName)
      this.#ownStatus = (json as { readonly status?: unknown }).status;
    return seen;
  }
}

/** Returns the addresses sorted; undefined before the first list. */
function placesOf({ lists, objects }: Reflector<AddressObject>): readonly string[] | undefined {
  if (lists === 0) return undefined;
  return [...new Set([...objects.values()].flatMap(({ addresses }) => addresses))].sort();
}

/** Formats the object without its version. */
function textOf({ resourceVersion: _, ...said }: MeshObject): string {
  return JSON.stringify(said);
}

function readNode(json: unknown): CachedNode | undefined {
  const facts = readNodeObject(json);
  if (facts === undefined) return undefined;
  const { resourceVersion } = (json as { metadata: Record<string, unknown> }).metadata;
  return {
    name: facts.name,
    resourceVersion: typeof resourceVersion === "string" ? resourceVersion : "",
    facts,
  };
}
