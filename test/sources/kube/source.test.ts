// The store follows the API's records: which peers join, which leave and when, which records are rejected, and
// how that combines with peers from elsewhere.
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { toClaimingPeer } from "../../../src/reconcile/node-reader.ts";
import { DirectorySource } from "../../../src/sources/directory/source.ts";
import { RejectedRecords } from "../../../src/sources/rejected-records.ts";
import { SourceSetting } from "../../../src/sources/source-setting.ts";
import { StoreError } from "../../../src/state/error.ts";
import { Log } from "../../../src/telemetry/log.ts";
import { objectOf } from "../../kube/objects.ts";
import { own, recordOf } from "../directory/directory.ts";
import { FakeApi } from "../fake-api.ts";
import { KubeNode } from "../kube-server.ts";

setDefaultTimeout(60_000);

function put(api: FakeApi, n: number, change: Parameters<typeof objectOf>[1] = {}): void {
  const { metadata, ...object } = objectOf(recordOf(n), change);
  const { resourceVersion: _, creationTimestamp, ...rest } = metadata;
  const created = change.createdAt === undefined ? {} : { creationTimestamp };
  api.putRecord({ ...object, metadata: { ...rest, ...created } });
}

async function start(...numbers: readonly number[]) {
  const api = await FakeApi.start();
  for (const n of numbers) put(api, n);
  const node = new KubeNode(api);
  await node.until("all are peers", () => node.store.peerSources().size === numbers.length);
  await api.nextWatch();
  return {
    ...{ api, node },
    async [Symbol.asyncDispose]() {
      node[Symbol.dispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

test("a peer leaves some seconds after its object, unless that comes back", async () => {
  await using scene = await start(1, 2, 3);
  const { api, node } = scene;
  const claims = () =>
    JSON.stringify(node.store.peers().map((peer) => [...toClaimingPeer(peer).claimedAt()]));
  const before = claims();
  api.removeRecord("node-2");
  await node.until("it is noted", () => node.changes > 1);
  node.skippedMs += 9000;
  node.look();
  expect(node.names).toBe("node-1 node-2 node-3");
  const { changes } = node;
  put(api, 2);
  await node.until("it is back", () => node.changes > changes);
  node.skippedMs += 3_600_000;
  node.look();
  // Not even its place in the order of claims was lost.
  expect(claims()).toBe(before);
});

test("peers whose objects are all gone stay for minutes, and that is said", async () => {
  await using scene = await start(1, 2, 3);
  const { api, node } = scene;
  for (const n of [1, 2, 3]) api.removeRecord(`node-${n}`);
  await node.until("all are missed", () => node.refused["wireguardnodes"]?.includes("3 of 3") === true);
  expect(node.refused["wireguardnodes"]).toContain("no WireGuardNode, or no Node, any more for 3 of 3 peers");
  node.skippedMs += 200_000;
  node.look();
  expect(node.names).toBe("node-1 node-2 node-3");
  node.skippedMs += 101_000;
  node.look();
  expect([node.names, node.refused]).toEqual(["", {}]);
});

test("an object that is refused has a reason, and its peer stays as it was", async () => {
  await using scene = await start(1, 2);
  const { api, node } = scene;
  put(api, 1, { spec: { podCIDRs: ["0.0.0.0/0"] } });
  put(api, 5, { nodeUid: "" });
  await node.until("both are refused", () => Object.keys(node.refused).length === 2);
  expect(node.refused).toEqual({
    "wireguardnode/node-1":
      "spec.podCIDRs[0]: 0.0.0.0/0 is everything, not the pods of one node; the record taken before stays",
    "wireguardnode/node-5":
      "it is not owned by Node node-5, so it would outlive it: the agent of node-5 writes it with an owner",
  });
  expect([node.peer("node-1"), node.names]).toEqual([recordOf(1), "node-1 node-2"]);
  put(api, 1);
  put(api, 5);
  await node.until("both are taken", () => node.names === "node-1 node-2 node-5");
  expect(node.refused).toEqual({});
});

test("a node that joins later decides as those that were there what two nodes claim", async () => {
  const shared = { podCIDRs: ["10.50.0.0/24"] };
  await using api = await FakeApi.start();
  using early = new KubeNode(api);
  put(api, 9, { createdAt: "2026-01-01T00:00:01Z", spec: shared });
  await early.until("the first is there", () => early.names === "node-9");
  put(api, 2, { createdAt: "2026-01-01T00:00:02Z", spec: shared });
  await early.until("both are there", () => early.names === "node-2 node-9");
  using late = new KubeNode(api);
  await late.until("both are there", () => late.names === "node-2 node-9");
  for (const node of [early, late]) {
    const { refusals } = resolveClaims({ ...own, publicKeys: [] }, node.store.peers().map(toClaimingPeer));
    expect(refusals.map(({ peer, claim, owner }) => [peer, claim, owner])).toEqual([
      ["node-2", "10.50.0.0/24", "node-9"],
    ]);
  }
});

test("a peer that was imported by hand is the API's from then on; one that it does not know stays", async () => {
  await using api = await FakeApi.start();
  put(api, 1);
  using node = new KubeNode(api);
  node.store.putPeers([{ ...recordOf(1), podCIDRs: ["10.66.0.0/24"] }, recordOf(7)], "import");
  await node.until("node-1 is the API's", () => node.peers["node-1"] === "kube");
  expect(node.peers).toEqual({ "node-1": "kube", "node-7": "import" });
  expect(node.peer("node-1")).toEqual(recordOf(1));
  node.skippedMs += 3_600_000;
  node.look();
  expect(node.names).toBe("node-1 node-7");
});

test("what is removed or imported over is restored in the next pass", async () => {
  await using scene = await start(1, 2);
  const { node } = scene;
  node.store.removePeer("node-1");
  node.store.putPeers([{ ...recordOf(2), podCIDRs: [] }], "import");
  node.look();
  expect(node.peers).toEqual({ "node-1": "kube", "node-2": "kube" });
  expect(node.peer("node-2")).toEqual(recordOf(2));
});

test("without a kubeconfig any more its peers stay, as if they had been imported", async () => {
  await using scene = await start(1, 2);
  const { api, node } = scene;
  node.look("");
  expect(node.peers).toEqual({ "node-1": "import", "node-2": "import" });
  expect(node.publish()).toEqual({ done: true });
  put(api, 3);
  await Bun.sleep(100);
  node.look("");
  expect(node.names).toBe("node-1 node-2");
});

test("a store that takes nothing loses no change", async () => {
  await using scene = await start(1);
  const { api, node } = scene;
  const { transaction } = node.store;
  node.store.transaction = () => {
    throw new StoreError("busy", "Cannot write the state: it is locked.");
  };
  put(api, 2);
  await expect(node.until("a refusal", () => false)).rejects.toThrow("it is locked");
  node.store.transaction = transaction;
  node.look();
  expect(node.names).toBe("node-1 node-2");
});

test("a records directory beside it counts for peers that the API has no record of", async () => {
  await using scene = await start(1);
  const { node } = scene;
  const directory = mkdtempSync(join(tmpdir(), "wg-cni-both-"));
  try {
    mkdirSync(join(directory, "records"));
    const path = join(directory, "records");
    const write = (record: ReturnType<typeof recordOf>) =>
      writeFileSync(join(path, `${record.name}.json`), JSON.stringify(record));
    write({ ...recordOf(1), podCIDRs: ["10.66.0.0/24"] });
    write(recordOf(8));
    writeFileSync(join(path, "node-9.json"), "{");
    const common = {
      log: new Log({ format: "text", level: "error", now: () => "", write: () => {} }),
      now: () => performance.now(),
    };
    using records = new SourceSetting(node.store, {
      ...{ ...common, name: "directory", rejected: new RejectedRecords(node.store) },
      make: (directory, ownName) =>
        new DirectorySource(directory, ownName, { ...common, onChange: () => {}, peers: () => new Set() }),
    });
    const generations = new Set<number>();
    for (let i = 0; i < 4; i++) {
      node.look();
      records.ingest(path, own.name);
      generations.add(node.store.generation);
    }
    expect(node.peers).toEqual({ "node-1": "kube", "node-8": "directory" });
    expect(node.peer("node-1")).toEqual(recordOf(1));
    // They do not take it from each other again and again.
    expect(generations.size).toBe(1);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("the rejected records of each source are there beside those of the other", async () => {
  await using scene = await start(1);
  const { node } = scene;
  const refused = new RejectedRecords(node.store);
  refused.put("directory", [{ file: "node-9.json", reason: "it is empty" }]);
  refused.put("kube", [{ file: "wireguardnode/node-5", reason: "no" }]);
  expect(Object.keys(node.refused)).toEqual(["node-9.json", "wireguardnode/node-5"]);
  refused.put("directory", []);
  expect(Object.keys(node.refused)).toEqual(["wireguardnode/node-5"]);
});

test("a record that another client has changed is taken only if its agent does not restore its own", async () => {
  await using scene = await start(1, 2);
  const { api, node } = scene;
  const edit = () => {
    const { metadata, ...object } = objectOf(recordOf(2), { spec: { podCIDRs: [] } });
    const time = "2999-01-01T00:00:00Z";
    const managedFields = [
      { manager: "kubectl-edit", operation: "Update", time, fieldsV1: { "f:spec": {} } },
    ];
    api.putRecord({ ...object, metadata: { ...metadata, managedFields } });
  };
  const heard = async (deed: () => void) => {
    const { changes } = node;
    deed();
    await node.until("it is heard of", () => node.changes > changes);
  };
  const { generation } = node.store;
  await heard(edit);
  node.skippedMs += 9000;
  node.look();
  await heard(() => put(api, 2));
  node.skippedMs += 60_000;
  node.look();
  // The agent's own is there again, and nobody has moved.
  expect([node.peer("node-2"), node.store.generation]).toEqual([recordOf(2), generation]);
  await heard(edit);
  node.skippedMs += 10_000;
  node.look();
  expect(node.peer("node-2")?.podCIDRs).toEqual([]);
});
