// The cost of 5,000 records for the API and the store: the requests and the writes at the start, while nothing
// changes, by a change, and if everything has to be listed again. Times are the benchmark's (`npm run bench -- scale`).
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { recordOf } from "../directory/directory.ts";
import { FakeApi, kindOf } from "../fake-api.ts";
import { put, records } from "../kube-context.ts";
import { KubeNode, ownNode } from "../kube-server.ts";

setDefaultTimeout(120_000);

/** With this node's own. */
const many = 5000;
const others = many - 1;
let api: FakeApi;
let node: KubeNode;
/** A connection of our own: it sees what others commit. */
let witness: Database;

beforeAll(async () => {
  api = await FakeApi.start();
  api.putNode(ownNode);
  for (let n = 1; n <= others; n++) put(api, n);
  node = new KubeNode(api, { idleMs: 600_000 });
  await node.published();
  witness = new Database(node.store.path, { readonly: true });
}, 120_000);
afterAll(async () => {
  witness?.close();
  node?.[Symbol.dispose]();
  await api?.[Symbol.asyncDispose]();
});

/** "METHOD kind path", in order. */
const requests = (from = 0) =>
  api.seen.slice(from).map((one) => `${one.method} ${kindOf(one)} ${one.path.split("/").at(-1)}`);
const of = (kind: string, from = 0) => requests(from).filter((one) => one === kind).length;
/** Changes with every commit to the store. */
const commits = () => (witness.query("PRAGMA data_version").get() as { data_version: number }).data_version;
const changedSince = (generation: number) =>
  node.store
    .peers()
    .filter(({ changedAt }) => changedAt > generation)
    .map(({ record }) => record.name);

/** As often as the agent would within minutes. */
async function rest(): Promise<void> {
  for (let i = 0; i < 20; i++) {
    node.look();
    expect(node.publish()).toEqual({ done: true });
    await Bun.sleep(20);
  }
}

/** Kinds of which there is one object, or a handful. */
const single = ["nodes", "wireguardmeshes", "servicecidrs", "endpointslices"];

test("the start takes ten pages, ten of Nodes' names, a list of each other kind, five watches and one write", async () => {
  await api.nextWatch();
  expect(node.store.peerSources().size).toBe(others);
  expect(of("GET list wireguardnodes")).toBe(many / 500);
  expect(requests().toSorted()).toEqual(
    [
      ...Array.from({ length: many / 500 }, () => "GET list wireguardnodes"),
      ...Array.from({ length: many / 500 }, () => "GET list nodes"),
      ...single.map((kind) => `GET list ${kind}`),
      ...[...single, "wireguardnodes"].map((kind) => `GET watch ${kind}`),
      "PATCH apply node-0",
    ].toSorted(),
  );
});

test("while nothing changes the server is not asked, nothing is written, and no pass is requested", async () => {
  await rest();
  const from = api.seen.length;
  const before = [commits(), node.changes];
  for (const watch of api.watches) watch.bookmark(api.version);
  await rest();
  expect([requests(from), commits(), node.changes]).toEqual([[], ...before]);
});

test("one record that changes is one write of that peer, and no request", async () => {
  const from = api.seen.length;
  const { generation } = node.store;
  const before = node.changes;
  put(api, 77, { podCIDRs: ["10.99.77.0/24"] });
  await node.until("it is taken", () => node.store.generation > generation);
  await rest();
  expect(changedSince(generation)).toEqual(["node-77"]);
  expect([node.store.generation, node.changes]).toEqual([generation + 1, before + 1]);
  expect(requests(from)).toEqual([]);
});

test("a status that changes, as that of each node does now and then, requests no pass", async () => {
  const from = api.seen.length;
  const before = [commits(), node.changes];
  const { metadata, ...object } = api.record("node-78")!;
  const { resourceVersion: _, ...rested } = metadata;
  api.putRecord({ ...object, metadata: rested, status: { peers: many, encryptedPeers: 17 } });
  await Bun.sleep(200);
  await rest();
  expect([requests(from), commits(), node.changes]).toEqual([[], ...before]);
});

test("what is listed again after 410 and is as it was is ten pages, and no write", async () => {
  const from = api.seen.length;
  const before = commits();
  const [watch] = api.watches;
  watch!.fail(410, "Expired", "too old resource version");
  await api.nextWatch([watch!]);
  await node.until(
    "it is compared",
    () => node.lines.filter((line) => line.includes("were read")).length === 2,
  );
  await rest();
  expect(commits()).toBe(before);
  expect(of("GET list wireguardnodes", from)).toBe(many / 500);
  expect(requests(from)).toHaveLength(many / 500 + 1);
});

test("what is listed again and has changed in one place is one write of that peer", async () => {
  const { generation } = node.store;
  const [watch] = api.watches;
  api.isLate = true;
  put(api, 79, { podCIDRs: ["10.99.79.0/24"] });
  api.isLate = false;
  watch!.fail(410, "Expired", "too old resource version");
  await node.until("it is taken", () => node.peer("node-79")?.podCIDRs[0] === "10.99.79.0/24");
  expect([changedSince(generation), node.store.generation]).toEqual([["node-79"], generation + 1]);
  expect(recordOf(79).podCIDRs).not.toEqual(["10.99.79.0/24"]);
});

test("all requests are about records, this node, the mesh and what no peer may claim", () => {
  const paths = new Set(api.seen.map(({ path }) => path));
  expect([...paths].sort()).toEqual([
    "/api/v1/nodes",
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "/apis/networking.k8s.io/v1/servicecidrs",
    "/apis/wg-cni.dev/v1alpha1/wireguardmeshes",
    records,
    `${records}/node-0`,
  ]);
});
