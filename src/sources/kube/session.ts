// One connection to the API: what it says apart from the records, and the removal of the start-up taint.

import {
  type AddressObject,
  apiEndpointsPath,
  apiEndpointsQuery,
  readEndpointSlice,
  readServiceCIDR,
  serviceCIDRsPath,
} from "../../kube/cluster.ts";
import { type MeshObject, meshesPath, meshName, readMesh } from "../../kube/mesh-object.ts";
import { confirmsClaim, type NodeObject, readNodeObject } from "../../kube/node-object.ts";
import { isOlder } from "../../kube/object.ts";
import { type Credentials, KubeClient } from "../../kubeclient/client.ts";
import {
  type CachedObject,
  Reflector,
  type ReflectorOptions,
  type WatchTiming,
} from "../../kubeclient/reflector.ts";
import type { Log } from "../../telemetry/log.ts";
import { NodeLookup } from "./node-lookup.ts";
import { TaintRemover } from "./taint.ts";

export const nodesPath = "/api/v1/nodes";

export interface KubeSessionOptions {
  readonly credentials: Credentials;
  readonly userAgent: string;
  readonly log: Log;
  readonly timing: WatchTiming;
  readonly requestMs: number;
  readonly now: () => number;
  readonly wallClock: () => number;
  readonly random: () => number;
  /** Is called after an event or an answer. */
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
  readonly client: KubeClient;
  /** The options of every reflector of this connection. */
  readonly watching: Pick<
    ReflectorOptions<CachedObject>,
    "client" | "onChange" | "timing" | "random" | "isOlder"
  >;
  readonly #node: Reflector<CachedNode> | undefined;
  readonly #mesh: Reflector<MeshObject>;
  readonly #services: Reflector<AddressObject>;
  readonly #endpoints: Reflector<AddressObject>;
  readonly #lookup: NodeLookup;
  readonly #taint: TaintRemover;

  /** `nodeName`: undefined if this node has no name yet. */
  constructor(
    readonly nodeName: string | undefined,
    { credentials, userAgent, log, requestMs, timing, now, wallClock, random, onChange }: KubeSessionOptions,
  ) {
    const client = new KubeClient(credentials, { userAgent, requestMs, wallClock });
    this.client = client;
    const isOlderThan = (a: CachedObject, b: CachedObject) => isOlder(a.resourceVersion, b.resourceVersion);
    const watching = { client, onChange, timing, random, isOlder: isOlderThan };
    this.watching = watching;
    this.#lookup = new NodeLookup({ ...{ client, log, now }, path: nodesPath, onAnswer: onChange });
    this.#taint = new TaintRemover({
      ...{ client, log, now, random, retries: timing.retries },
      onRemoved: (node) => this.#node?.observeWrite(node),
    });
    const only = (name: string) => ({ query: { fieldSelector: `metadata.name=${name}` } });
    if (nodeName !== undefined)
      this.#node = new Reflector<CachedNode>({
        ...{ ...watching, path: nodesPath, ...only(nodeName), read: readNode },
        isSame: (a, b) => JSON.stringify(a.facts) === JSON.stringify(b.facts),
      });
    this.#mesh = new Reflector<MeshObject>({
      ...{ ...watching, path: meshesPath, ...only(meshName), read: readMesh, isOptional: true },
      isSame: (a, b) => textOf(a) === textOf(b),
    });
    const places = {
      ...{ ...watching, isOptional: true },
      isSame: (a: AddressObject, b: AddressObject) => Bun.deepEquals(a.addresses, b.addresses),
    };
    this.#services = new Reflector({ ...places, path: serviceCIDRsPath, read: readServiceCIDR });
    this.#endpoints = new Reflector({
      ...{ ...places, path: apiEndpointsPath, query: apiEndpointsQuery, read: readEndpointSlice },
    });
  }

  start(): void {
    for (const watch of [this.#node, this.#mesh, this.#services, this.#endpoints]) watch?.start();
  }

  [Symbol.dispose](): void {
    const watches = [this.#node, this.#mesh, this.#services, this.#endpoints];
    for (const part of [...watches, this.#lookup, this.#taint]) part?.[Symbol.dispose]();
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
    return this.#node?.problem ?? (isMissing ? undefined : problem);
  }

  /** True if the Node object is known and confirms the claim; an unknown one is requested. */
  isGiven(name: string, claim: string, kind: "node IP" | "pod CIDR"): boolean {
    const facts = this.#lookup.find(name);
    return facts !== undefined && confirmsClaim(facts, claim, kind);
  }

  /** Is called when the node is ready for pods; does nothing before the mode is known. */
  removeStartupTaint(): void {
    const { node, mesh } = this;
    if (mesh === "pending" || mesh === "unknown") return;
    if (typeof node === "string" || node.taints === undefined) return;
    this.#taint.remove(`${nodesPath}/${node.name}`, node.taints);
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
