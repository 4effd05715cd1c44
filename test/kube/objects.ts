// Objects as an API server sends them, for tests.
import { formatObject } from "../../src/kube/object.ts";
import type { NodeRecord } from "../../src/net/record.ts";

export interface ObjectChange {
  readonly resourceVersion?: string;
  readonly createdAt?: string;
  /** Of the Node that owns it. */
  readonly nodeUid?: string;
  readonly spec?: object;
}

/** A WireGuardNode with a record in it; whatever is changed of the spec is not checked. */
export function objectOf(record: NodeRecord, change: ObjectChange = {}) {
  const { resourceVersion = "1", createdAt = "2026-01-01T00:00:00Z", spec = {} } = change;
  const { nodeUid = `uid-${record.name}` } = change;
  const body = formatObject(record, nodeUid);
  return {
    ...body,
    metadata: {
      ...body.metadata,
      resourceVersion,
      creationTimestamp: createdAt,
      uid: `object-${record.name}`,
    },
    spec: { ...body.spec, ...spec },
  };
}

export interface NodeChange {
  readonly addresses?: readonly (readonly [type: string, address: string])[];
  readonly spec?: object;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** A Node of the cluster. */
export function nodeOf(name: string, change: NodeChange = {}) {
  const { addresses = [["InternalIP", "192.0.2.1"]], uid = `uid-${name}`, resourceVersion = "1" } = change;
  const { spec = { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] } } = change;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, uid, resourceVersion },
    spec,
    status: { addresses: addresses.map(([type, address]) => ({ type, address })) },
  };
}

/** The Node that owns a record's object, with nothing else in it; undefined if none does. */
export function ownerOf({ metadata }: { readonly metadata: { readonly [field: string]: unknown } }) {
  const [owner] = (metadata["ownerReferences"] ?? []) as readonly { name: string; uid: string }[];
  if (owner === undefined) return undefined;
  const { name, uid } = owner;
  return { apiVersion: "v1", kind: "Node", metadata: { name, uid: uid || `uid-${name}` } };
}
