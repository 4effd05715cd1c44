// An API with the records of two nodes, and a node that has them as peers: where
// the tests of the Kubernetes source begin.
import { objectOf } from "../kube/objects.ts";
import { recordOf } from "./directory/directory.ts";
import { FakeApi } from "./fake-api.ts";
import { KubeNode } from "./kube-server.ts";

export const records = "/apis/wg-cni.dev/v1alpha1/wireguardnodes";
export const put = (api: FakeApi, n: number, change: Partial<ReturnType<typeof recordOf>> = {}) =>
  api.putRecord(withoutVersion(recordOf(n, change)));

/** True if the watch of the records knows that the API is away; those of the Node and the mesh may know earlier. */
export const isOfRecords = (node: KubeNode) => node.look().problem?.includes("wireguardnodes") === true;

export function withoutVersion(record: ReturnType<typeof recordOf>) {
  const { metadata, ...object } = objectOf(record);
  const { resourceVersion: _, creationTimestamp: __, ...rest } = metadata;
  return { ...object, metadata: rest };
}

/** An API with the records of node-1 and node-2, and a node that has them as peers. */
export async function start(change: ConstructorParameters<typeof KubeNode>[1] = {}) {
  const api = await FakeApi.start();
  put(api, 1);
  put(api, 2);
  const node = new KubeNode(api, change);
  await node.until("node-1 and node-2 are peers", () => node.names === "node-1 node-2");
  return {
    ...{ api, node, watch: await api.nextWatch() },
    async [Symbol.asyncDispose]() {
      node[Symbol.dispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}
