// This node's record on its way to the API: written once, by one request at a
// time, after the others' records are here; and what stands in the way is said.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { StatusFacts } from "../../../src/kube/conditions.ts";
import { covered } from "../../kube/facts.ts";
import { nodeOf } from "../../kube/objects.ts";
import { waitUntil } from "../../lab/wait.ts";
import { own, recordOf } from "../directory/directory.ts";
import { FakeApi, kindOf, refuse } from "../fake-api.ts";
import { KubeNode, ownNode } from "../kube-server.ts";

setDefaultTimeout(60_000);

const moved = { ...own, podCIDRs: ["10.201.0.0/24"] };

/** An API with this node's Node, and the node. */
async function start() {
  const api = await FakeApi.start();
  api.putNode(ownNode);
  const node = new KubeNode(api);
  return {
    ...{ api, node },
    async [Symbol.asyncDispose]() {
      node[Symbol.dispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

const specOf = (api: FakeApi) => api.record(own.name)?.["spec"] as object | undefined;
const { name: _, ...ownSpec } = own;
const { name: __, ...movedSpec } = moved;

describe("the record", () => {
  test("is written by server-side apply, owned by the Node, and once", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    expect(api.record(own.name)).toMatchObject({
      ...{ apiVersion: "wg-cni.dev/v1alpha1", kind: "WireGuardNode", spec: ownSpec },
      metadata: {
        ownerReferences: [{ apiVersion: "v1", kind: "Node", name: own.name, uid: `uid-${own.name}` }],
      },
    });
    const write = api.seen.find((one) => kindOf(one) === "apply");
    expect(Object.fromEntries(write!.query)).toEqual({ fieldManager: "wg-cni", force: "true" });
    for (let i = 0; i < 20; i++) {
      node.look();
      expect(node.publish()).toEqual({ done: true });
      await Bun.sleep(5);
    }
    expect(api.count("apply")).toBe(1);
    expect(node.names).toBe("");
  });

  test("is not written if an earlier agent has written it", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    node.source[Symbol.dispose]();
    using later = new KubeNode(api);
    await later.published();
    expect(api.count("apply")).toBe(1);
  });

  test("is written again if it has changed, and nothing else than the last", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    let running = 0;
    let most = 0;
    const held = Promise.withResolvers<void>();
    api.fault = async (seen) => {
      if (kindOf(seen) !== "apply") return false;
      most = Math.max(most, ++running);
      await held.promise;
      running--;
      return false;
    };
    for (let i = 1; i <= 20; i++) {
      node.look();
      expect(node.publish({ ...own, podCIDRs: [`10.201.${i}.0/24`] }).done).toBe(false);
      await Bun.sleep(5);
    }
    await waitUntil(() => running === 1, { what: "a write under way" });
    held.resolve();
    await node.published(moved);
    expect(specOf(api)).toEqual(movedSpec);
    expect(most).toBe(1);
    expect(api.count("apply")).toBe(3);
  });

  test("waits for the peers' records: a peer that encrypts to us must not find us without its key", async () => {
    await using scene = await start();
    const { api, node } = scene;
    for (let n = 1; n <= 600; n++) api.putRecord(objectFor(n));
    const held = Promise.withResolvers<void>();
    api.fault = async ({ query }) => {
      if (query.has("continue")) await held.promise;
      return false;
    };
    await waitUntil(() => api.seen.some(({ query }) => query.has("continue")) || void node.look(), {
      what: "the second page",
    });
    for (let i = 0; i < 10; i++) {
      node.look();
      expect(node.publish()).toEqual({ done: false });
      await Bun.sleep(10);
    }
    expect([api.count("apply"), node.names]).toEqual([0, ""]);
    held.resolve();
    await node.published();
    expect(node.store.peerSources().size).toBe(600);
  });

  test("that the watch shows late is not written twice", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    const watch = await api.nextWatch();
    const before = JSON.stringify(api.record(own.name));
    api.isLate = true;
    node.look();
    node.publish(moved);
    await waitUntil(() => api.count("apply") === 2, { what: "the write" });
    // The watch now delivers a state from before the write.
    watch.send(`{"type":"MODIFIED","object":${before}}`);
    for (let i = 0; i < 20; i++) {
      node.look();
      node.publish(moved);
      await Bun.sleep(10);
    }
    watch.send(`{"type":"MODIFIED","object":${JSON.stringify(api.record(own.name))}}`);
    await node.published(moved);
    expect(api.count("apply")).toBe(2);
    // Anything later is news again.
    api.isLate = false;
    api.putRecord({ ...api.record(own.name)!, spec: ownSpec });
    await node.until("the change is seen", () => !node.publish(moved).done || api.count("apply") === 3);
  });

  test("that another client deletes is written again", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    api.removeRecord(own.name);
    await node.until("it is there again", () => {
      node.publish();
      return api.record(own.name) !== undefined;
    });
  });

  test("that another client changes is restored at once, and again only after a while", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    const change = () =>
      api.putRecord({ ...api.record(own.name)!, spec: { ...ownSpec, podCIDRs: ["10.0.0.0/8"] } });
    change();
    await node.until(
      "it is as it was",
      () => node.publish().done && specOf(api)?.toString() !== "" && api.count("apply") === 2,
    );
    expect(specOf(api)).toEqual(ownSpec);
    change();
    await node.until("the race is seen", () => node.publish().problem !== undefined);
    expect(node.refused[`wireguardnode/${own.name}`]).toContain("repeatedly");
    expect(api.count("apply")).toBe(2);
    node.skippedMs += 30_000;
    await node.published();
    expect([api.count("apply"), specOf(api), node.refused]).toEqual([3, ownSpec, {}]);
  });
});

function objectFor(n: number) {
  const { name, ...spec } = recordOf(n);
  return {
    metadata: { name, ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid: `uid-${name}` }] },
    spec,
  };
}

describe("the Node", () => {
  test("that is not there keeps the record back, and that is said", async () => {
    await using api = await FakeApi.start();
    using node = new KubeNode(api);
    await node.until("it is known", () => node.publish().problem !== undefined);
    expect(node.publish()).toEqual({
      done: false,
      problem: `There is no Node ${own.name} in the cluster, which would own this node's record: it is not published. Is the name right (--node)?`,
    });
    api.putNode(ownNode);
    await node.published();
    expect(node.refused).toEqual({});
    expect(node.lines).toContain("info  resolved: this node's record cannot be published source=kube");
  });

  test("that is made anew owns the record then", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    api.removeNode(own.name);
    api.putNode(nodeOf(own.name, { uid: "another" }));
    await node.until("the new owner is written", () => {
      node.publish();
      return JSON.stringify(api.record(own.name)).includes('"uid":"another"');
    });
    await node.published();
    expect(api.count("apply")).toBe(2);
  });

  test("is heard of, with what has changed of it", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.until("it is known", () => typeof node.look().node === "object");
    expect(node.look().node).toMatchObject({ name: own.name, podCIDRs: ["10.244.1.0/24"] });
    api.putNode(nodeOf(own.name, { spec: { podCIDRs: ["10.9.0.0/24"] } }));
    await node.until("it has changed", () => JSON.stringify(node.look().node).includes("10.9.0.0/24"));
    api.removeNode(own.name);
    await node.until("it is gone", () => node.look().node === "absent");
  });
});

describe("a refusal", () => {
  test.each([
    [
      "by the admission policy",
      403,
      "Forbidden",
      "podCIDRs: 10.0.0.0/8 is not within",
      /could not be published: .*write .*\/node-0 \(403\): podCIDRs: .* Check the agent's role and the admission policy/,
    ],
    [
      "because the resource is not there",
      404,
      "NotFound",
      "the server could not find the requested resource",
      /\(404\).* Is the resource installed/,
    ],
    ["by the schema", 422, "Invalid", "spec.slots[0].port: Invalid value", /\(422\): spec\.slots\[0\]\.port/],
    ["by a server that starts", 503, "ServiceUnavailable", "etcd is not there", /\(503\): etcd is not there/],
  ])("%s is said, tried again after a rest, and passes", async (_, code, reason, message, expected) => {
    await using scene = await start();
    const { api, node } = scene;
    let isWrong = true;
    api.fault = (seen, response) => {
      if (kindOf(seen) !== "apply" || !isWrong) return false;
      refuse(response, code, reason, message);
      return true;
    };
    await node.until("it is known", () => node.publish().problem !== undefined);
    expect(node.publish().problem).toMatch(expected);
    expect(node.refused[`wireguardnode/${own.name}`]).toMatch(expected);
    await node.until("it was tried again", () => node.publish().done || api.count("apply") >= 3);
    isWrong = false;
    await node.published();
    expect(node.refused).toEqual({});
  });

  test("of one record keeps no other back", async () => {
    await using scene = await start();
    const { api, node } = scene;
    api.fault = (seen, response) => {
      if (kindOf(seen) !== "apply" || api.count("apply") > 1) return false;
      refuse(response, 429, "TooManyRequests", "busy", { headers: { "Retry-After": "500" } });
      return true;
    };
    await node.until("it is known", () => node.publish().problem !== undefined);
    for (let i = 0; i < 20; i++) {
      expect(node.publish().wakeInMs).toBeGreaterThan(400_000);
      await Bun.sleep(5);
    }
    expect(api.count("apply")).toBe(1);
    await node.published(moved);
    expect(api.count("apply")).toBe(2);
  });

  test("is over when the time that the server asked for is", async () => {
    await using scene = await start();
    const { api, node } = scene;
    api.fault = (seen, response) => {
      if (kindOf(seen) !== "apply" || api.count("apply") > 1) return false;
      refuse(response, 429, "TooManyRequests", "busy", { headers: { "Retry-After": "300" } });
      return true;
    };
    await node.until("it is known", () => node.publish().problem !== undefined);
    node.skippedMs += 301_000;
    await node.published();
  });
});

test("an outage while it is written changes nothing, and the record is there afterwards", async () => {
  await using scene = await start();
  const { api, node } = scene;
  await node.published();
  await api.down();
  await node.until("the outage is known", () => node.publish(moved).problem !== undefined);
  expect(node.publish(moved).problem).toStartWith("This node's record could not be published: Cannot write");
  await api.up();
  await node.published(moved);
  expect(specOf(api)).toEqual(movedSpec);
});

describe("the status", () => {
  const facts: StatusFacts = { ...covered, up: true, mode: "permissive", peers: 3, keyCreatedAtMs: 0 };
  const statuses = (api: FakeApi) => api.seen.filter(({ path }) => path.endsWith("/status")).length;

  test("is written after a while, then seldom, and only if it says something new", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    let [asked, others] = [0, 0];
    /** `peers`: in the status that the API has then. */
    const report = async (peers: number | undefined, change: Partial<StatusFacts> = {}) => {
      node.source.report(own.name, () => {
        asked++;
        return { ...facts, ...change };
      });
      const has = () => (api.record(own.name)?.["status"] as { peers?: number } | undefined)?.peers === peers;
      await waitUntil(has, { what: `a status of ${peers} peers` });
      api.putRecord(objectFor(++others));
      // In order: of the status, too.
      await node.until("it is told of", () => node.names.split(" ").includes(`node-${others}`));
      await Bun.sleep(100);
      node.look();
    };
    await report(undefined);
    expect([asked, statuses(api)]).toEqual([0, 0]);
    node.skippedMs += 10_000;
    await report(3);
    expect([asked, statuses(api)]).toEqual([1, 1]);
    expect(api.record(own.name)?.["status"]).toMatchObject({ peers: 3, encryptedPeers: 3 });
    await report(3, { peers: 4 });
    expect([asked, statuses(api)]).toEqual([1, 1]);
    node.skippedMs += 45_000;
    await report(3);
    expect([asked, statuses(api)]).toEqual([2, 1]);
    node.skippedMs += 45_000;
    await report(4, { peers: 4 });
    expect([asked, statuses(api)]).toEqual([3, 2]);
    // The record is not written for that, nor looked at anew.
    expect(node.publish()).toEqual({ done: true });
    expect(specOf(api)).toEqual(ownSpec);
  });

  test("that is refused is no problem", async () => {
    await using scene = await start();
    const { api, node } = scene;
    await node.published();
    api.fault = ({ path }, response) => {
      if (!path.endsWith("/status")) return false;
      refuse(response, 403, "Forbidden", "no");
      return true;
    };
    node.skippedMs += 10_000;
    node.source.report(own.name, () => facts);
    await waitUntil(() => node.lines.some((line) => line.includes("the API refused a report")), {
      what: "the refusal",
    });
    expect([node.look().problem, node.publish(), node.refused]).toEqual([undefined, { done: true }, {}]);
  });

  test("of a node whose claims are another node's by right says so; the other node reports it by an event", async () => {
    await using scene = await start();
    const { api, node } = scene;
    const made = (n: number, creationTimestamp: string) => {
      const { metadata, ...object } = objectFor(n);
      api.putRecord({ ...object, metadata: { ...metadata, uid: `object-${n}`, creationTimestamp } });
    };
    made(1, "2020-01-01T00:00:00Z");
    made(2, "2999-01-01T00:00:00Z");
    await node.published();
    const contested = [
      { peer: "node-1", claim: "10.1.0.0/24" },
      { peer: "node-2", claim: "10.2.0.0/24" },
    ];
    const report = async () => {
      node.skippedMs += 60_000;
      node.source.report(own.name, () => ({ ...facts, contested }));
      await Bun.sleep(100);
    };
    const events = () => api.seen.filter(({ path }) => path.startsWith("/apis/events.k8s.io/"));
    await report();
    await waitUntil(() => events().length === 1, { what: "the event" });
    const { conditions } = api.record(own.name)!["status"] as { conditions: { type: string }[] };
    expect(conditions.find(({ type }) => type === "RecordAccepted")).toMatchObject({
      ...{ status: "False", reason: "Conflict", message: "10.1.0.0/24 was node-1's first" },
    });
    const event = await waitUntil(() => api.object(events()[0]!.path), { what: "the event being stored" });
    expect(event).toMatchObject({
      ...{ type: "Warning", reason: "ClaimRefused", reportingInstance: own.name },
      regarding: { kind: "WireGuardNode", name: "node-2", uid: "object-2" },
      note: `10.2.0.0/24 is refused to node-2 by all nodes: ${own.name} had it first and keeps it until it lets go.`,
    });
    await report();
    expect(events()).toHaveLength(1);
  });
});
