// This node's mode follows the cluster's mesh object; if the API has no such object, or none that is
// understood, the mode stays.
import { expect, setDefaultTimeout, test } from "bun:test";
import { meshesPath } from "../../../src/kube/mesh-object.ts";
import { ModeFollower } from "../../../src/sources/kube/mode.ts";
import { RejectedRecords } from "../../../src/sources/rejected-records.ts";
import { Log } from "../../../src/telemetry/log.ts";
import { FakeApi, refuse } from "../fake-api.ts";
import { isOfRecords } from "../kube-context.ts";
import { KubeNode } from "../kube-server.ts";

setDefaultTimeout(60_000);

async function start(prepare: (api: FakeApi) => void = () => undefined) {
  const api = await FakeApi.start();
  prepare(api);
  const node = new KubeNode(api);
  const lines: string[] = [];
  const log = new Log({
    ...{ format: "text", level: "info", now: () => "" },
    write: (line) => lines.push(line.trim()),
  });
  const hosts: { judge: (cidrs: readonly string[]) => string[] } = { judge: () => [] };
  const mode = new ModeFollower(node.store, log, new RejectedRecords(node.store), (cidrs) =>
    hosts.judge(cidrs),
  );
  const follow = () => mode.follow(node.look().mesh);
  return {
    ...{ api, node, lines, follow, hosts, mode },
    put: (spec: object) => api.put(meshesPath, { metadata: { name: "default" }, spec }),
    /** Follows until the settings are these. */
    until: (settings: object) =>
      node.until(`the settings are ${JSON.stringify(settings)}`, () => {
        follow();
        return JSON.stringify(node.store.settings()) === JSON.stringify(settings);
      }),
    async [Symbol.asyncDispose]() {
      node[Symbol.dispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}

test("it is followed as it changes, and the store is written to only then", async () => {
  await using scene = await start();
  const { node, put, until, lines } = scene;
  put({ mode: "off" });
  await until({ mode: "off" });
  put({ mode: "strict", clusterCIDRs: ["10.244.0.0/16"] });
  await until({ mode: "strict", clusterCIDRs: ["10.244.0.0/16"] });
  const { generation } = node.store;
  const before = node.changes;
  put({ mode: "strict", clusterCIDRs: ["10.244.0.0/16"], more: "of a newer version" });
  await node.until("the watch is there still", () => typeof node.look().mesh === "object");
  expect([node.store.generation, node.changes - before]).toEqual([generation, 0]);
  expect(lines).toHaveLength(2);
});

test("what is typed on the node changes nothing while the mesh says otherwise", async () => {
  await using scene = await start();
  const { node, put, until } = scene;
  put({ mode: "strict" });
  await until({ mode: "strict" });
  // As an agent does that is started with --mode, before it has heard of anything.
  node.store.putSetting("mode", "permissive");
  expect(node.store.settings()).toEqual({ mode: "strict" });
});

test("what it does not say is each node's own", async () => {
  await using scene = await start();
  const { node, put, until } = scene;
  node.store.putSetting("clusterCIDRs", ["10.0.0.0/8"]);
  put({ mode: "strict" });
  await until({ clusterCIDRs: ["10.0.0.0/8"], mode: "strict" });
});

test("a mode of a newer version is not followed, which is said", async () => {
  await using scene = await start();
  const { node, put, until, follow, lines } = scene;
  put({ mode: "strict" });
  await until({ mode: "strict" });
  put({ mode: "quantum" });
  const reason = 'mode: "quantum" must be off, permissive or strict; it stays as it was';
  await node.until("it is refused", () => {
    follow();
    return node.refused["wireguardmesh/default"] === reason;
  });
  expect([node.store.settings(), lines.at(-1)]).toEqual([
    { mode: "strict" },
    expect.stringContaining("quantum"),
  ]);
  put({ mode: "permissive" });
  await until({ mode: "permissive" });
  expect(node.refused).toEqual({});
});

test("cluster CIDRs that hold a host are not taken: what was said before holds, the mode is followed, and it is said", async () => {
  await using scene = await start();
  const { node, put, until, follow, hosts, mode, lines } = scene;
  put({ mode: "permissive", clusterCIDRs: ["10.244.0.0/16"] });
  await until({ mode: "permissive", clusterCIDRs: ["10.244.0.0/16"] });
  hosts.judge = (cidrs) => (cidrs.includes("10.0.0.0/8") ? ["10.0.0.0/8 holds 10.0.0.1"] : []);
  put({ mode: "strict", clusterCIDRs: ["10.0.0.0/8"] });
  await until({ mode: "strict", clusterCIDRs: ["10.244.0.0/16"] });
  const warning = "clusterCIDRs: 10.0.0.0/8 holds 10.0.0.1; it stays as it was";
  expect([mode.warning, node.refused["wireguardmesh/default"]]).toEqual([warning, warning]);
  expect(lines.filter((line) => line.includes("10.0.0.1"))).toHaveLength(1);
  // The address has gone: the object is what it was, and is taken now.
  hosts.judge = () => [];
  follow();
  expect(node.store.settings()).toEqual({ mode: "strict", clusterCIDRs: ["10.0.0.0/8"] });
  expect(node.refused).toEqual({});
});

test("deleted, it leaves the mode as it was, which is the node's own then", async () => {
  await using scene = await start();
  const { api, node, put, until } = scene;
  put({ mode: "strict" });
  await until({ mode: "strict" });
  api.remove(meshesPath, "default");
  await node.until("it is gone", () => node.look().mesh === "absent");
  await until({ mode: "strict" });
  expect(node.store.meshSettings()).toEqual({});
  node.store.putSetting("mode", "permissive");
  await until({ mode: "permissive" });
});

test("a server that is away, or does not let it be read, changes nothing of it", async () => {
  await using scene = await start((api) => {
    api.fault = ({ path }, response) => {
      if (path !== meshesPath) return false;
      refuse(response, 403, "Forbidden", "wireguardmeshes is forbidden");
      return true;
    };
  });
  const { api, node, follow } = scene;
  node.store.putMeshSettings({ mode: "strict" });
  for (const words of ["wireguardmeshes is forbidden", "ECONNREFUSED"]) {
    await node.until(`it is known: ${words}`, () => node.look().problem?.includes(words) === true);
    follow();
    expect([node.look().mesh, node.store.meshSettings()]).toEqual(["unknown", { mode: "strict" }]);
    await api.down();
  }
});

test("an API without the resource has no mesh, and that is no outage", async () => {
  await using scene = await start((api) => {
    api.fault = ({ path }, response) => {
      if (path !== meshesPath) return false;
      refuse(response, 404, "NotFound", "the server could not find the requested resource");
      return true;
    };
  });
  await scene.node.until("it is known", () => scene.node.look().mesh === "absent");
  await scene.node.until("records are read", () => scene.node.source.status.isCurrent);
  expect(scene.node.refused).toEqual({});
  // Nor does an outage make it one that cannot be read.
  const { api, node } = scene;
  await api.down();
  await node.until("the outage is known", () => isOfRecords(node));
  expect(node.look().mesh).toBe("absent");
});
