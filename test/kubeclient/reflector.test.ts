// The reflector survives everything that can go wrong with a watch: after each fault the peers are as they
// were, and changes meanwhile arrive in the end.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { meshesPath } from "../../src/kube/mesh-object.ts";
import { waitUntil } from "../lab/wait.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { FakeApi, kindOf, refuse } from "../sources/fake-api.ts";
import { isOfRecords, put, records, start, withoutVersion } from "../sources/kube-context.ts";
import { KubeNode, timing } from "../sources/kube-server.ts";

setDefaultTimeout(60_000);

describe("a sound server", () => {
  test("is listed once and watched from there: what is made, changed and deleted is heard of", async () => {
    await using context = await start();
    const { api, node } = context;
    expect(node.peers).toEqual({ "node-1": "kube", "node-2": "kube" });
    put(api, 1, { podCIDRs: ["10.77.0.0/24"] });
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(node.peer("node-1")?.podCIDRs).toEqual(["10.77.0.0/24"]);
    api.removeRecord("node-2");
    await node.until("its absence is noted", () => {
      node.skippedMs += 100;
      return node.names === "node-1 node-3";
    });
    expect([api.count("list"), api.count("watch")]).toEqual([1, 1]);
    expect(node.lines).toContain("info  record accepted peer=node-3");
    expect(node.lines).toContain("info  record deleted, peer removed peer=node-2");
  });

  test("is asked for bookmarks, and goes on from the last one after the end of a watch", async () => {
    await using context = await start({ sustainedMs: 0 });
    const { api, node, watch } = context;
    expect(watch.query.get("allowWatchBookmarks")).toBe("true");
    expect(Number(watch.query.get("timeoutSeconds"))).toBe(90);
    api.advance(5000);
    watch.bookmark(5000);
    watch.end();
    const next = await waitUntil(() => api.watches.find(({ from }) => from === "5000"), {
      what: "a watch from 5000",
    });
    expect(next).toBeDefined();
    expect(api.count("list")).toBe(1);
    expect(node.look().problem).toBeUndefined();
  });

  test("says nothing new: no look is asked for, and the store is not written to", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    const { generation } = node.store;
    const { changes } = node;
    watch.bookmark(200);
    api.putRecord({ ...withoutVersion(recordOf(1)), status: { encryptedPeers: 4 } } as never);
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names.includes("node-3"));
    expect(node.store.generation).toBe(generation + 1);
    // One for the record, one for its Node.
    expect(node.changes).toBe(changes + 2);
  });

  test("with thousands of records is listed page by page", async () => {
    await using api = await FakeApi.start();
    for (let n = 1; n <= 1234; n++) put(api, n);
    using node = new KubeNode(api);
    await node.until("all are peers", () => node.store.peerSources().size === 1234);
    expect(
      api.seen
        .filter((one) => one.path === records && kindOf(one) === "list")
        .map(({ query }) => query.get("limit")),
    ).toEqual(["500", "500", "500"]);
  });
});

describe("the watch continues from the version it had reached", () => {
  test.each([
    [
      "is cut off in the middle of a line",
      (w: Watching) => {
        w.sendText('{"type":"ADDED","object":{"kind":"Wire');
        w.cut();
      },
    ],
    ["is cut off", (w: Watching) => w.cut()],
    ["ends", (w: Watching) => w.end()],
  ])("when it %s", async (_, breakIt) => {
    await using context = await start();
    const { api, node, watch } = context;
    breakIt(watch);
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(api.count("list")).toBe(1);
  });

  test("after a restart of the server that no client has noticed", async () => {
    await using context = await start();
    const { api, node } = context;
    await api.down();
    await api.up();
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(api.count("list")).toBe(1);
  });

  test("when it is silent for too long, without even a bookmark", async () => {
    await using context = await start({ idleMs: 300 });
    const { api, node, watch } = context;
    const later = await api.nextWatch([watch]);
    expect(later.from).toBe(watch.from);
    expect(api.count("list")).toBe(1);
    expect(node.names).toBe("node-1 node-2");
  });

  test("and bookmarks are signs of life", async () => {
    await using context = await start({ idleMs: 3000 });
    const { api, watch } = context;
    for (let i = 0; i < 12; i++) {
      watch.bookmark(5000 + i);
      await Bun.sleep(300);
    }
    expect(api.watches).toContain(watch);
    expect(api.count("watch")).toBe(1);
  });
});

type Watching = Awaited<ReturnType<FakeApi["nextWatch"]>>;

describe("everything is listed again", () => {
  test("when the watch is told 410: what was missed is made up for", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    await api.down();
    put(api, 3);
    api.removeRecord("node-1");
    put(api, 4);
    api.compactedTo = api.version;
    await api.up();
    await node.until("node-3 and node-4 are peers", () => /node-3 node-4/.test(node.names));
    expect(api.count("list")).toBe(2);
    expect(watch.from).toBe("104");
    await node.until("node-1 has left", () => {
      node.skippedMs += 100;
      return node.names === "node-2 node-3 node-4";
    });
  });

  test("when 410 comes in the middle of a watch", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    watch.fail(410, "Expired", "too old resource version");
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(api.count("list")).toBe(2);
  });

  test("when the server was restored from an old copy, whose versions begin below", async () => {
    await using context = await start();
    const { api, node } = context;
    await api.down();
    api.restore(7);
    put(api, 1, { podCIDRs: ["10.88.0.0/24"] });
    await api.up();
    await node.until("node-1 is as it is there", () => node.peer("node-1")?.podCIDRs[0] === "10.88.0.0/24");
    expect(node.names).toBe("node-1 node-2");
  });

  test.each([
    ["garbage", "what?\n"],
    ["JSON that is no event", '{"kind":"Status"}\n'],
    ["an event about nothing", '{"type":"ADDED","object":null}\n'],
  ])("when the watch says %s", async (_, text) => {
    await using context = await start();
    const { api, node, watch } = context;
    watch.sendText(text);
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(api.count("list")).toBe(2);
  });
});

describe("an outage", () => {
  test("keeps the peers, is said, and passes", async () => {
    await using context = await start();
    const { api, node } = context;
    const { generation } = node.store;
    await api.down();
    await node.until("the outage is known", () => isOfRecords(node));
    node.skippedMs += 30 * 86_400_000;
    const report = node.look();
    expect(report.problem).toMatch(
      /^Cannot watch .*wireguardnodes of the Kubernetes API at https:.*\. The peers stay as they are\.$/,
    );
    expect(node.refused).toEqual({ kubernetes: report.problem! });
    expect(node.names).toBe("node-1 node-2");
    expect(node.store.generation).toBe(generation);
    await api.up();
    await node.until("it has passed", () => node.look().problem === undefined);
    expect(node.refused).toEqual({});
    expect(node.names).toBe("node-1 node-2");
    expect(node.lines.at(-1)).toBe("info  resolved: records cannot be read source=kube");
  });

  test("of a server that takes longer to refuse than a sound watch lasts is said too", async () => {
    await using context = await start();
    const { api, node } = context;
    api.fault = async (_, response) => {
      await Bun.sleep(2 * timing.sustainedMs);
      refuse(response, 503, "ServiceUnavailable", "starting");
      return true;
    };
    context.watch.cut();
    await node.until("the outage is known", () => isOfRecords(node));
    expect(node.look().problem).toContain("(503)");
  });

  test("while records are deleted does not make up for the time that they were gone", async () => {
    await using context = await start();
    const { api, node } = context;
    api.removeRecord("node-1");
    await node.until("the deletion is heard of", () => node.changes > 1 && api.version > 102);
    await api.down();
    await node.until("the outage is known", () => isOfRecords(node));
    node.skippedMs += 3_600_000;
    node.look();
    expect(node.names).toBe("node-1 node-2");
    put(api, 1);
    put(api, 3);
    await api.up();
    // It is told of after node-1.
    await node.until("it has passed", () => node.names === "node-1 node-2 node-3");
    api.removeRecord("node-3");
    await node.until("node-3 has left again", () => {
      node.skippedMs += 100;
      return node.names === "node-1 node-2";
    });
    node.skippedMs += 3_600_000;
    node.look();
    expect(node.names).toBe("node-1 node-2");
  });

  test("at the start leaves the peers of before, and says so at once", async () => {
    await using context = await start();
    const { api, node } = context;
    node.source[Symbol.dispose]();
    await api.down();
    using later = new KubeNode(api);
    later.store.putPeers([recordOf(1), recordOf(2)], "kube");
    await later.until("the outage is known", () => later.look().problem !== undefined);
    later.skippedMs += 3_600_000;
    later.look();
    expect(later.names).toBe("node-1 node-2");
  });
});

test("an outage that goes on calls for no further looks", async () => {
  await using context = await start();
  const { api, node } = context;
  await api.down();
  await node.until("the outage is known", () => node.look().problem !== undefined);
  // Each watch by itself.
  let [before, sinceMs] = [node.changes, performance.now()];
  await waitUntil(
    () => {
      if (node.changes !== before) [before, sinceMs] = [node.changes, performance.now()];
      return performance.now() - sinceMs > 500;
    },
    { what: "all watches knowing it" },
  );
  // Five tries of each watch at the least.
  await Bun.sleep(1000);
  expect(node.changes).toBe(before);
});

test("a server that has no mesh is asked for it ever more rarely; for records as often as before", async () => {
  await using api = await FakeApi.start();
  api.fault = ({ path }, response) => {
    if (path !== records && path !== meshesPath) return false;
    refuse(response, 404, "NotFound", "the server could not find the requested resource");
    return true;
  };
  using node = new KubeNode(api);
  const lists = (path: string) => api.seen.filter((one) => one.path === path).length;
  await node.until("both are known to be absent", () => node.look().mesh === "absent" && lists(records) > 20);
  expect(lists(meshesPath)).toBeLessThan(10);
  api.fault = () => false;
  api.put(meshesPath, { metadata: { name: "default" }, spec: { mode: "off" } });
  await node.until("it is there", () => typeof node.look().mesh === "object");
});

describe("a busy server", () => {
  test("is left alone for as long as it asks for", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    const times: number[] = [];
    api.fault = (seen, response) => {
      if (kindOf(seen) !== "watch" || seen.path !== records || times.length === 2) return false;
      times.push(performance.now());
      refuse(response, 429, "TooManyRequests", "busy", { headers: { "Retry-After": "1" } });
      return true;
    };
    watch.cut();
    put(api, 3);
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(times[1]! - times[0]!).toBeGreaterThan(990);
    expect(api.count("list")).toBe(1);
  });

  test("that takes its time is waited for", async () => {
    await using context = await start();
    const { api, node, watch } = context;
    api.fault = async ({ path }) => {
      if (path === records) await Bun.sleep(10_000);
      return false;
    };
    watch.cut();
    put(api, 3);
    const startedMs = performance.now();
    await node.until("node-3 is a peer", () => node.names === "node-1 node-2 node-3");
    expect(performance.now() - startedMs).toBeGreaterThan(9000);
    expect(api.count("list")).toBe(1);
    expect(node.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
  });
});
