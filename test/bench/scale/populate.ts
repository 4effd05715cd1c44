// Fills an API server with the nodes of a large cluster: a Node each, and its
// record with the status that an agent writes, by the same requests as an agent's,
// many at once. Runs where the server is; prints the seconds that it took.
//
//   bun test/bench/scale/populate.ts URL PKI-DIRECTORY COUNT

import { readFileSync } from "node:fs";
import type { StatusFacts } from "../../../src/kube/conditions.ts";
import { planStatus } from "../../../src/kube/status-report.ts";
import type { KubeObject } from "../../cluster/support/kube-client.ts";
import { nodesPath, recordObject, recordPath } from "../../cluster/support/nodes.ts";
import { paperRecord } from "../../kernel/support/mesh-reference.ts";
import { covered } from "../../kube/facts.ts";

/** As many as keep two cores of a server busy. */
const atOnce = 48;

const [url = "", directory = "", count = ""] = process.argv.slice(2);
const read = (name: string) => readFileSync(`${directory}/${name}`, "utf8");
const tls = { ca: read("ca.crt"), cert: read("admin.crt"), key: read("admin.key") };
const applying = "?fieldManager=wg-cni&force=true";

/** All is well, as nodes of a large cluster say it. */
const facts: StatusFacts = {
  ...covered,
  ...{ up: true, mode: "permissive", peers: Number(count), keyCreatedAtMs: Date.now() },
  plaintextWindow: { forMs: 600_000, wantedMs: 300_000, peers: [] },
};
const startMs = performance.now();
let next = 1;
await Promise.all(
  Array.from({ length: atOnce }, async () => {
    while (next <= Number(count)) await makeNode(next++);
  }),
);
console.log(((performance.now() - startMs) / 1000).toFixed(1));

async function makeNode(index: number): Promise<void> {
  const { name, ...spec } = paperRecord(index);
  const addresses = spec.nodeIPs.map((address) => ({ type: "InternalIP", address }));
  const node = await ask("POST", nodesPath, {
    ...{ apiVersion: "v1", kind: "Node", metadata: { name } },
    ...{ spec: { podCIDRs: spec.podCIDRs }, status: { addresses } },
  });
  const record = recordObject(node, spec);
  await ask("PATCH", `${recordPath(name)}${applying}`, record);
  const { apiVersion, kind } = record;
  const status = planStatus(facts, () => false, undefined, Date.now());
  await ask("PATCH", `${recordPath(name)}/status${applying}`, {
    apiVersion,
    kind,
    metadata: { name },
    status,
  });
}

async function ask(method: "POST" | "PATCH", path: string, body: object): Promise<KubeObject> {
  const type = method === "POST" ? "application/json" : "application/apply-patch+yaml";
  const answer = await fetch(`${url}${path}`, {
    ...{ method, headers: { "content-type": type }, body: JSON.stringify(body), tls },
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as KubeObject;
}
