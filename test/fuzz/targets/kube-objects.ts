// Objects of the Kubernetes API, which other programs and other users write, and pages of lists of them.
import { readEndpointSlice, readServiceCIDR } from "../../../src/kube/cluster.ts";
import { readMesh } from "../../../src/kube/mesh-object.ts";
import { confirmsClaim, planIdentity, readNodeObject } from "../../../src/kube/node-object.ts";
import { isSameRecord, judgeObject } from "../../../src/kube/object.ts";
import { readListPage, statusError } from "../../../src/kube/watch.ts";
import { hold, type Target } from "../target.ts";

export const kubeObjects: Target = {
  name: "kube-objects",
  form: "json",
  refusals: ["KubeError", "SyntaxError"],
  run(input) {
    const json: unknown = JSON.parse(new TextDecoder().decode(input));
    const record = judgeObject(json);
    hold("an object is the same as itself", record === undefined || isSameRecord(record, record));
    const node = readNodeObject(json);
    const plans =
      node && (["node", "pods"] as const).map((source) => planIdentity(node, ["10.1.0.0/24"], source));
    if (node !== undefined) confirmsClaim(node, "10.1.0.0/24", "pod CIDR");
    const read = [record, node, plans, readMesh(json), readServiceCIDR(json), readEndpointSlice(json)];
    const said = statusError(json, "The API server refused the request").message;
    hold("an error is short and on one line", /^[^\n]{1,600}$/.test(said));
    return [...read, isList(json) ? readListPage(json).items.map(judgeObject) : undefined];
  },
};

function isList(json: unknown): boolean {
  return typeof json === "object" && json !== null && "items" in json;
}
