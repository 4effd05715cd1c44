// The start-up taint, where the watch of the Node tells of its end later than the
// answer to the request that took it off.
import { expect, setDefaultTimeout, test } from "bun:test";
import { startupTaint } from "../../../src/kube/node-object.ts";
import { nodeOf } from "../../kube/objects.ts";
import { waitUntil } from "../../lab/wait.ts";
import { own } from "../directory/directory.ts";
import { FakeApi } from "../fake-api.ts";
import { KubeNode } from "../kube-server.ts";

setDefaultTimeout(60_000);

test("is taken off once, and not reported to stay", async () => {
  await using api = await FakeApi.start();
  api.putNode(nodeOf(own.name, { spec: { taints: [{ key: startupTaint, effect: "NoSchedule" }] } }));
  using node = new KubeNode(api);
  await node.published();
  await node.until("the mesh is known to be absent", () => node.look().mesh === "absent");
  let patches = 0;
  api.fault = ({ method, path }, response) => {
    if (method !== "PATCH" || path !== `/api/v1/nodes/${own.name}`) return false;
    patches++;
    api.isLate = true;
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(api.put("/api/v1/nodes", nodeOf(own.name, { spec: {} }))));
    return true;
  };
  const ready = () => node.lines.filter((line) => line.includes("pods may be scheduled here")).length;
  node.source.removeStartupTaint();
  await waitUntil(() => ready() === 1, { what: "the answer" });
  node.source.removeStartupTaint();
  // A second request would be there by now.
  await Bun.sleep(200);
  expect([patches, ready()]).toEqual([1, 1]);
  expect(node.lines.filter((line) => line.startsWith("warn"))).toEqual([]);
});

test("a refusal is logged once while it lasts, and its end once", async () => {
  await using api = await FakeApi.start();
  api.putNode(nodeOf(own.name, { spec: { taints: [{ key: startupTaint, effect: "NoSchedule" }] } }));
  using node = new KubeNode(api);
  await node.published();
  await node.until("the mesh is known to be absent", () => node.look().mesh === "absent");
  let refusals = 0;
  api.fault = ({ method, path }, response) => {
    if (method !== "PATCH" || path !== `/api/v1/nodes/${own.name}`) return false;
    const isRefused = refusals < 3;
    if (isRefused) refusals++;
    response.writeHead(isRefused ? 403 : 200, { "Content-Type": "application/json" });
    const refusal = { kind: "Status", code: 403, message: "no right" };
    response.end(
      JSON.stringify(isRefused ? refusal : api.put("/api/v1/nodes", nodeOf(own.name, { spec: {} }))),
    );
    return true;
  };
  const isReady = () => node.lines.some((line) => line.includes("pods may be scheduled here"));
  const poll = () => {
    node.source.removeStartupTaint();
    return isReady();
  };
  await waitUntil(poll, { what: "the removal" });
  const lines = node.lines.filter((line) => line.includes("stays on this node"));
  expect(refusals).toBe(3);
  expect(lines.map((line) => line.split(" ", 1)[0])).toEqual(["warn", "info"]);
  expect(lines[1]).toStartWith("info  resolved: ");
});
