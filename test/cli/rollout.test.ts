// `rollout` as an administrator sees it, on an API that has whatever a test puts
// there: what is missing, what is refused, and what is written.
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { usualSelector } from "../../src/cli/rollout.ts";
import { meshesPath } from "../../src/kube/mesh-object.ts";
import { objectsPath } from "../../src/kube/object.ts";
import { nodeOf } from "../kube/objects.ts";
import { FakeApi, refuse } from "../sources/fake-api.ts";
import { expectGolden } from "./golden.ts";
import { run } from "./terminal.ts";

setDefaultTimeout(60_000);

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.start();
});
afterEach(() => api[Symbol.asyncDispose]());

const rollout = (...words: string[]) => run(["rollout", ...words, "--kubeconfig", api.kubeconfig]);
const setMode = (mode: string) => api.put(meshesPath, { metadata: { name: "default" }, spec: { mode } });
const mode = () => (api.object(`${meshesPath}/default`)?.["spec"] as { mode?: string } | undefined)?.mode;
const writes = () => api.seen.filter(({ method }) => method !== "GET").length;

/** A node whose agent reports this; undefined for one that has none. */
function putNode(name: string, reports?: string, missing?: string, labels = {}): void {
  const { metadata, ...node } = nodeOf(name);
  api.putNode({ metadata: { ...metadata, labels }, ...node });
  if (reports === undefined) return;
  const covered = { type: "Covered", status: missing === undefined ? "True" : "False", message: missing };
  api.put(objectsPath, { metadata: { name }, status: { mode: reports, conditions: [covered] } });
}

test("a cluster without a mesh: what there is, and how to begin", async () => {
  putNode("n1", "permissive");
  const said = await rollout();
  expect(said).toMatchObject({ exitCode: 0, stderr: "" });
  expectGolden("rollout-none", said.stdout);
  expect(await rollout("permissive")).toMatchObject({ exitCode: 0 });
  expect(mode()).toBe("permissive");
});

test("a cluster whose nodes are off begins with off", async () => {
  putNode("n1", "off");
  putNode("n2", "permissive");
  expect(JSON.parse((await rollout("--json")).stdout)).toMatchObject({ next: "off" });
});

test("a cluster that has pods does not begin in strict mode, and is told how", async () => {
  putNode("n1", "permissive");
  const words = "node n1 may have pods already, which strict mode would cut off until all agents are up";
  api.fault = ({ method }, response) => {
    if (method !== "PATCH") return false;
    refuse(response, 422, "Invalid", words);
    return true;
  };
  const said = await rollout("strict");
  expect([said.exitCode, said.stderr]).toEqual([3, ""]);
  expectGolden("rollout-strict-start", said.stdout);
  expect(said.stdout).toContain("may have pods already");
});

test("a step up is refused with all that is missing, and nothing is written", async () => {
  setMode("permissive");
  putNode("n1", "permissive");
  putNode("n2", "permissive", "packets went in plaintext within 5 min, to or from n4");
  putNode("n3", "off");
  putNode("n4");
  const said = await rollout("strict");
  expect(said.exitCode).toBe(3);
  expectGolden("rollout-refused", said.stdout);
  expect([mode(), writes()]).toEqual(["permissive", 0]);
  const json = JSON.parse((await rollout("--json")).stdout) as { missing: { node: string }[] };
  expect(json).toMatchObject({ mode: "permissive", next: "strict", nodes: 4, inMode: 2, covered: 1 });
  expect(json.missing.map(({ node }) => node)).toEqual(["n2", "n3", "n4"]);
});

test("a step up that loses nothing is made, a step down always", async () => {
  setMode("off");
  putNode("n1", "off");
  const up = await rollout("permissive");
  expect(up.exitCode).toBe(0);
  expectGolden("rollout-up", up.stdout);
  expect(mode()).toBe("permissive");
  setMode("strict");
  putNode("n2");
  const down = await rollout("off");
  expect(down.exitCode).toBe(0);
  expectGolden("rollout-down", down.stdout);
  expect(mode()).toBe("off");
});

test("nodes that have no agent by design are left out, by the selector that is given", async () => {
  setMode("off");
  putNode("n1", "off");
  for (const name of ["win-1", "win-2", "win-3", "win-4"])
    putNode(name, undefined, undefined, { "kubernetes.io/os": "windows" });
  putNode("aci", undefined, undefined, { "kubernetes.io/os": "linux", type: "virtual-kubelet" });
  expectGolden("rollout-left-out", (await rollout()).stdout);
  const missing = async (selector: string) => {
    const { stdout } = await rollout("--json", "--selector", selector);
    return (JSON.parse(stdout) as { missing: { node: string }[] }).missing.map(({ node }) => node);
  };
  expect(await missing("kubernetes.io/os!=windows")).toEqual(["aci"]);
  expect((await run(["rollout", "--help"])).stdout).toContain(`(default ${usualSelector})`);
  expect(await rollout("permissive", "--selector", "kubernetes.io/os=windows")).toMatchObject({
    exitCode: 3,
  });
  expect(await rollout("permissive")).toMatchObject({ exitCode: 0 });
});

test("no step is left out, and the mode that is there is not written again", async () => {
  setMode("off");
  putNode("n1", "off");
  const leap = await rollout("strict");
  expect(leap).toMatchObject({ exitCode: 2 });
  expect(leap.stderr).toContain("from off the next step is permissive, and then strict");
  expect(await rollout("off")).toMatchObject({ exitCode: 0 });
  expect(writes()).toBe(0);
});

test("strict is the end of it; what is amiss then is said, too", async () => {
  setMode("strict");
  putNode("n1", "strict");
  expectGolden("rollout-strict", (await rollout()).stdout);
  putNode("n2", "strict", "1 of 1 peer not reached through the tunnel: n1");
  expectGolden("rollout-strict-amiss", (await rollout()).stdout);
});

test("of hundreds of nodes the first are shown", async () => {
  setMode("off");
  for (let n = 0; n < 600; n++) putNode(`node-${n}`);
  const { stdout } = await rollout();
  expect(stdout.match(/has no record/g)).toHaveLength(20);
  expect(stdout).toContain("and 580 more");
});

test("wrong words and wrong places are explained", async () => {
  const words = await rollout("stict");
  expect(words).toMatchObject({ exitCode: 2 });
  expect(words.stderr).toContain('"stict" is no mode, which are off, permissive or strict');
  api.fault = (_, response) => {
    refuse(response, 403, "Forbidden", 'nodes is forbidden: User "jane" cannot list resource "nodes"');
    return true;
  };
  const forbidden = await rollout();
  expect(forbidden).toMatchObject({ exitCode: 1 });
  expect(forbidden.stderr).toContain('User "jane" cannot list');
});
