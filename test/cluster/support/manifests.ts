// The manifests of conf/kubernetes, applied to a test's API server as a person
// would with kubectl: in their order, by server-side apply.

import { readFileSync } from "node:fs";
import { repository } from "../../lab/paths.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { ApiServer } from "./api-server.ts";
import type { KubeClient, KubeObject } from "./kube-client.ts";
import { agentOf, createNode, nodesPath, recordObject, recordPath, recordsPath } from "./nodes.ts";
import { refused } from "./rejected.ts";

/** Kind -> where its objects are. */
const collections: Record<string, string> = {
  ServiceAccount: "serviceaccounts",
  Role: "roles",
  RoleBinding: "rolebindings",
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  DaemonSet: "daemonsets",
  CustomResourceDefinition: "customresourcedefinitions",
  ValidatingAdmissionPolicy: "validatingadmissionpolicies",
  ValidatingAdmissionPolicyBinding: "validatingadmissionpolicybindings",
};

export type Manifest = "crd" | "rbac" | "policy" | "mesh" | "startup-taint";

export function readManifest(name: Manifest): KubeObject[] {
  return readObjects(readFileSync(`${repository}/conf/kubernetes/${name}.yaml`, "utf8"));
}

/** All objects of a YAML text. */
export function readObjects(yaml: string): KubeObject[] {
  const objects = [Bun.YAML.parse(yaml) as KubeObject | readonly KubeObject[]].flat();
  return objects.filter((object) => object !== null);
}

/** The path of an object of one of the kinds that manifests have. */
export function pathOf({ apiVersion, kind, metadata }: KubeObject): string {
  const collection = collections[kind];
  if (collection === undefined)
    throw new Error(`${kind} ${metadata.name}: say in manifests.ts where it belongs`);
  const group = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const namespace = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
  return `${group}${namespace}/${collection}/${metadata.name}`;
}

/** Applies them and waits until records can be written. Policies are obeyed later: see policiesObeyed(). */
export async function applyManifests(admin: KubeClient, names: readonly Manifest[]): Promise<void> {
  const objects = names.flatMap(readManifest);
  for (const object of objects)
    await admin.apply(pathOf(object), object, { manager: "kubectl", fieldValidation: "Strict" });
  if (names.includes("crd"))
    await waitUntil(async () => (await admin.send("GET", recordsPath)).ok, {
      what: `the API server serving ${recordsPath}`,
    });
}

/** A server takes a second or two to obey a new policy. Asks as the agent of a Node that is there only for that. */
export async function policiesObeyed(server: ApiServer): Promise<void> {
  const name = "probe";
  const node = await createNode(server.admin, name, { internalIPs: ["192.0.2.200"] });
  const agent = await agentOf(server, name);
  const other = { ...node, metadata: { ...node.metadata, name: `not-${name}` } };
  const tries = [
    ["wg-cni-own-record", recordObject(other, {})],
    ["wg-cni-own-network", recordObject(node, { nodeIPs: ["192.88.99.1"] })],
  ] as const;
  for (const [policy, record] of tries) {
    const options = { dryRun: true };
    const look = () =>
      refused(agent.apply(recordPath(record.metadata.name), record, options), policy).catch(() => false);
    await waitUntil(look, { what: `the API server obeying ${policy}` });
  }
  await server.admin.remove(`${nodesPath}/${name}`);
}
