// Nodes of a test's cluster as the API knows them, their agents' identities, and
// the records they would publish.

import type { ApiServer } from "./api-server.ts";
import type { KubeClient, KubeObject } from "./kube-client.ts";

export const nodesPath = "/api/v1/nodes";
export const recordsPath = "/apis/wg-cni.dev/v1alpha1/wireguardnodes";
export const namespace = "kube-system";
export const serviceAccount = "wg-cni";

const namespacePath = `/api/v1/namespaces/${namespace}`;
/** The API server issues none that are shorter. */
const tokenSeconds = 3600;

export interface NodeFields {
  readonly podCIDRs?: readonly string[];
  readonly internalIPs?: readonly string[];
  readonly externalIPs?: readonly string[];
}

/** As its kubelet registers it and the controller manager gives it CIDRs. */
export function createNode(admin: KubeClient, name: string, fields: NodeFields = {}): Promise<KubeObject> {
  const { podCIDRs, internalIPs = [], externalIPs = [] } = fields;
  const addresses = [
    ...internalIPs.map((address) => ({ type: "InternalIP", address })),
    ...externalIPs.map((address) => ({ type: "ExternalIP", address })),
    { type: "Hostname", address: name },
  ];
  return admin.create(nodesPath, {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    spec: podCIDRs === undefined ? {} : { podCIDR: podCIDRs[0], podCIDRs },
    status: { addresses },
  });
}

/** A token as the kubelet gets it for the agent's pod on `node`: bound to the pod, and so with the node's name. */
export async function mintToken(admin: KubeClient, node: string): Promise<string> {
  const pod = await admin.create(`${namespacePath}/pods`, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { generateName: "wg-cni-" },
    spec: {
      nodeName: node,
      serviceAccountName: serviceAccount,
      containers: [{ name: "agent", image: "wg-cni" }],
    },
  });
  return requestToken(admin, {
    boundObjectRef: { apiVersion: "v1", kind: "Pod", name: pod.metadata.name, uid: pod.metadata.uid },
  });
}

/** The TokenRequest's `spec` besides its duration; {} for a token that is bound to nothing. */
export async function requestToken(admin: KubeClient, spec: object): Promise<string> {
  const request = await admin.create(`${namespacePath}/serviceaccounts/${serviceAccount}/token`, {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: tokenSeconds, ...spec },
  });
  return request["status"].token;
}

/** The agent of a node that exists. */
export async function agentOf(server: ApiServer, node: string): Promise<KubeClient> {
  return server.client(await mintToken(server.admin, node));
}

export interface RecordFields {
  readonly slots?: readonly object[];
  readonly endpoints?: readonly string[];
  readonly nodeIPs?: readonly string[];
  readonly podCIDRs?: readonly string[];
}

/** A record as an agent applies it. */
export function recordObject({ metadata: { name, uid } }: KubeObject, spec: RecordFields): KubeObject {
  const ownerReferences = [{ apiVersion: "v1", kind: "Node", name, uid }];
  return {
    apiVersion: "wg-cni.dev/v1alpha1",
    kind: "WireGuardNode",
    metadata: { name, ownerReferences },
    spec,
  };
}

export function recordPath(name: string): string {
  return `${recordsPath}/${name}`;
}
