// A record counts while its Node is there: who writes for a Node that is gone is not
// heard, whatever the order of events, and nobody who is there is cut off because the
// API does not say so in time.
import { expect, setDefaultTimeout, test } from "bun:test";
import { objectOf } from "../../kube/objects.ts";
import { own, recordOf } from "../directory/directory.ts";
import { type FakeApi, refuse } from "../fake-api.ts";
import { records, start } from "../kube-context.ts";
import { KubeNode } from "../kube-server.ts";

setDefaultTimeout(60_000);

const nodesPath = "/api/v1/nodes";
const gone = "there is no Node";

/** As the agent of node-`n` writes it with the token that it still has; `uid`: the object's own, another one where it was made anew. */
function write(api: FakeApi, n: number, uid: string, nodeUid = `uid-node-${n}`, podCIDR = `10.66.${n}.0/24`) {
  const object = objectOf(recordOf(n, { podCIDRs: [podCIDR] }), { nodeUid });
  const { resourceVersion: _, creationTimestamp: __, ...metadata } = object.metadata;
  api.put(records, { ...object, metadata: { ...metadata, uid } });
}

const podCIDRs = (
  node: { peer(name: string): { readonly podCIDRs: readonly string[] } | undefined },
  n: number,
) => node.peer(`node-${n}`)?.podCIDRs.join() ?? "";

test("a record for a Node that never was is not taken, until there is one", async () => {
  await using scene = await start();
  const { api, node } = scene;
  write(api, 3, "object-3");
  await node.until("it is refused", () => node.refused["wireguardnode/node-3"]?.includes(gone) === true);
  expect(node.names).toBe("node-1 node-2");
  api.putNode({ metadata: { name: "node-3", uid: "uid-node-3" } });
  node.skippedMs += 5000;
  await node.until("it is a peer", () => node.names === "node-1 node-2 node-3");
  expect(node.refused).toEqual({});
});

test("a peer whose Node is gone leaves, though its record is written again and again", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.removeNode("node-2");
  for (const [round, uid] of ["made-anew-1", "made-anew-2", "made-anew-3"].entries()) {
    // The garbage collector, and the token's owner behind it.
    api.removeRecord("node-2");
    write(api, 2, uid, "uid-node-2", `10.66.${round}.0/24`);
    await node.until("it is refused", () => node.refused["wireguardnode/node-2"]?.includes(gone) === true);
    expect(podCIDRs(node, 2)).toBe(recordOf(2).podCIDRs.join());
  }
  node.skippedMs += 11_000;
  await node.until("it has left", () => node.names === "node-1");
  write(api, 2, "made-anew-4");
  node.skippedMs += 3_600_000;
  await node.until("it is asked for again", () => node.look().problem === undefined && node.changes > 0);
  expect(node.names).toBe("node-1");
});

test("a peer whose Node is gone leaves, though its record is not collected", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.removeNode("node-2");
  node.look();
  expect(node.names).toBe("node-1 node-2");
  node.skippedMs += 91_000;
  await node.until("it is refused", () => node.refused["wireguardnode/node-2"]?.includes(gone) === true);
  node.skippedMs += 11_000;
  await node.until("it has left", () => node.names === "node-1");
});

test("a record that is owned by an earlier Node of its name does not count", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.removeRecord("node-2");
  api.putNode({ metadata: { name: "node-2", uid: "uid-second" } });
  write(api, 2, "by-the-old-token");
  const says = () => node.refused["wireguardnode/node-2"]?.includes("an earlier Node node-2") === true;
  await node.until("it is refused", says);
  expect(podCIDRs(node, 2)).toBe(recordOf(2).podCIDRs.join());
  // The agent of the second one.
  write(api, 2, "by-the-new-token", "uid-second", "10.77.2.0/24");
  await node.until("the new one is taken", () => podCIDRs(node, 2) === "10.77.2.0/24");
  node.skippedMs += 3_600_000;
  node.look();
  expect([node.names, node.refused]).toEqual(["node-1 node-2", {}]);
});

test("a Node that is deleted and made anew within seconds costs its peer nothing", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.removeNode("node-2");
  api.removeRecord("node-2");
  await node.until("it is missed", () => node.changes > 1);
  api.putNode({ metadata: { name: "node-2", uid: "uid-second" } });
  write(api, 2, "second", "uid-second", recordOf(2).podCIDRs[0]);
  const { generation } = node.store;
  await node.until("it is proven", () => node.refused["wireguardnode/node-2"] === undefined);
  node.skippedMs += 3_600_000;
  await node.until("nothing has changed", () => node.look().problem === undefined);
  expect([node.names, node.store.generation]).toEqual(["node-1 node-2", generation]);
});

test("peers stay as they are while Nodes cannot be listed, and a new one waits", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.fault = ({ path, query }, response) => {
    const isAsked = path === nodesPath && query.get("watch") !== "true";
    if (isAsked) refuse(response, 503, "ServiceUnavailable", "etcd is away");
    return isAsked;
  };
  api.removeNode("node-2");
  write(api, 1, "made-anew");
  node.skippedMs += 3_600_000;
  await node.until("it is said", () => node.look().problem?.includes("etcd is away") === true);
  node.skippedMs += 3_600_000;
  node.look();
  expect(node.names).toBe("node-1 node-2");
  expect(podCIDRs(node, 1)).toBe(recordOf(1).podCIDRs.join());
  api.fault = () => false;
  await node.until("the record is taken", () => podCIDRs(node, 1) === "10.66.1.0/24");
});

test("a list without most Nodes is not believed at once", async () => {
  await using scene = await start();
  const { api, node } = scene;
  for (const n of [1, 2]) api.removeNode(`node-${n}`);
  node.skippedMs += 91_000;
  await node.until("it is doubted", () => node.refused["wireguardnodes"]?.includes("2 of 2 peers") === true);
  node.skippedMs += 200_000;
  node.look();
  expect(node.names).toBe("node-1 node-2");
  for (const n of [1, 2]) api.putNode({ metadata: { name: `node-${n}`, uid: `uid-node-${n}` } });
  node.skippedMs += 60_000;
  await node.until("all is well", () => Object.keys(node.refused).length === 0);
  node.skippedMs += 3_600_000;
  await node.until("they stay", () => node.look().problem === undefined);
  expect(node.names).toBe("node-1 node-2");
});

test("nothing is published before the peers' Nodes are known: a peer that encrypts to us must not find us without its key", async () => {
  await using scene = await start();
  const { api } = scene;
  let isHeld = true;
  api.fault = async ({ path, query }) => {
    if (path === nodesPath && query.get("limit") !== null && query.get("fieldSelector") === null)
      while (isHeld) await Bun.sleep(5);
    return false;
  };

  api.putNode({ metadata: { name: own.name, uid: `uid-${own.name}` } });
  using second = new KubeNode(api);
  const isListed = () =>
    api.seen.filter(({ path, query }) => path === nodesPath && !query.has("fieldSelector"));
  const before = isListed().length;
  await second.until("Nodes are asked for", () => isListed().length > before);
  for (let i = 0; i < 10; i++) {
    second.look();
    expect(second.publish().done).toBe(false);
    await Bun.sleep(10);
  }
  expect(api.record(own.name)).toBeUndefined();
  isHeld = false;
  await second.published();
  expect(second.names).toBe("node-1 node-2");
});
