// A rollout through a real API server: off, permissive, strict and back on three
// nodes whose pods talk all the while. No packet is lost, no step is taken before it
// was measured, and who tries it another way is refused by the API itself.
import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { DocumentedBlocks } from "../docs/support/documented.ts";
import { addNode, wgMust } from "../kernel/support/mesh-reference.ts";
import type { Agent } from "../lab/agent.ts";
import type { Node } from "../lab/node.ts";
import { binary, repository } from "../lab/paths.ts";
import type { Pod } from "../lab/pod.ts";
import { readConfList } from "../lab/runtime.ts";
import { eachWay, losses, Streams } from "../lab/stream.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { giveAccount, registerNode, startAgent } from "./support/join.ts";
import { adminKubeconfig } from "./support/kubeconfig.ts";
import { createNode, nodesPath, recordObject, recordPath } from "./support/nodes.ts";
import { denied, refused, unrefused } from "./support/rejected.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

const meshPath = "/apis/wg-cni.dev/v1alpha1/wireguardmeshes/default";
/** Reports come every 30 to 45 s, and are made at a look, of which there is one a minute at least. */
const reportMs = 180_000;
const soonMs = 60_000;
/** A node that joins first reports after 10 s and looks every 2 s; the rest is for a slow machine. */
const joinedMs = 30_000;
/** The quiet time of an agent that is restarted; its first report comes sooner, after 10 s. */
const quietMs = 25_000;
const firstReportMs = 15_000;
/** What was in plaintext last is counted at the next pass. */
const marginMs = 5000;
const optionsOf = (plaintextWindow: string) => ({
  args: ["--plaintext-window", plaintextWindow, "--cluster-cidrs", "10.244.0.0/16,fd00:10:244::/48"],
});
const agentOptions = optionsOf("5s");

interface Shown {
  readonly mode?: string;
  readonly next?: string;
  readonly inMode: number;
  readonly missing: readonly { readonly node: string; readonly reason: string }[];
}

describeKube("a rollout", () => {
  const documented = new DocumentedBlocks(import.meta.path);
  const [show = ""] = documented.take("docs/guides/rollout.md", "wg-cni rollout");
  const [toPermissive = "", toStrict = ""] = documented.take(
    "docs/guides/rollout.md",
    "wg-cni rollout strict",
  );
  const lab = withLab("rollout");
  const server = withApiServer(lab, ["crd", "rbac", "policy", "mesh"]);
  let config: string;
  let agents: Agent[];
  let streams: Streams;
  let lastPlaintextMs = 0;
  const nodes: Node[] = [];
  const pods: Pod[] = [];
  const n1 = () => nodes[0] as Node;

  beforeAll(async () => {
    config = `${lab.sharedDirectory}/admin.json`;
    writeFileSync(config, adminKubeconfig(server, server.nodeUrl));
    for (const index of [1, 2, 3]) nodes.push(await addNode(lab, index));
    for (const node of nodes) {
      node.strictReversePath();
      const pod = node.pod(`p${node.name}`);
      await wgMust(node, ["up", ...node.upArguments, "--mode", "off"]);
      await node.runtime.add(readConfList(`${repository}/conf/10-wg-cni.conflist`), pod);
      pods.push(pod);
    }
    const [p1, p2, p3] = pods as [Pod, Pod, Pod];
    const pairs = [
      [p1, p2],
      [p2, p3],
      [p3, p1],
    ] as const;
    streams = await Streams.start([...eachWay(pairs, 4), ...eachWay([pairs[0]], 6)], { rate: 100 });
  }, startTimeoutMs);

  const rollout = (...words: string[]) => n1().wg(["rollout", ...words, "--kubeconfig", config]);
  const shown = async (...words: string[]) => JSON.parse((await rollout("--json", ...words)).stdout) as Shown;
  /** The nodes that keep the mesh from its next step. */
  const missing = async (...words: string[]) => (await shown(...words)).missing.map(({ node }) => node);
  /** Why a node is not covered, in the status of its record. */
  const reasonOf = async ({ name }: Node) => {
    const { conditions } = (await server.admin.get(recordPath(name)))["status"] as {
      readonly conditions: readonly { readonly type: string; readonly reason: string }[];
    };
    return conditions.find(({ type }) => type === "Covered")?.reason;
  };
  /** A command as the documents have it, which the administrator copies. */
  const copied = (command: string) => {
    const PATH = `${dirname(binary)}:/usr/bin:/bin`;
    return n1().run(["sh", "-euc", command], { env: { PATH, KUBECONFIG: config } });
  };
  const kubectlSets = (mode: string, options = { dryRun: false }) =>
    server.admin.patch(meshPath, { spec: { mode } }, options);
  /** Until the API server refuses the step; what its policies know of records comes a moment later. */
  const refusesStep = (mode: string) => denied(() => kubectlSets(mode, { dryRun: true }), ["wg-cni-rollout"]);
  const plaintextDuring = async (ms: number) => {
    const capture = await lab.capture("net 10.244.0.0/16 or ip6 net fd00:10:244::/48");
    await Bun.sleep(ms);
    return (await capture.packets()).length;
  };

  /** Until nothing is missing for the next step, all nodes being in the present one. */
  async function covered(mode: string): Promise<void> {
    let last: Shown | undefined;
    const look = async () => {
      last = await shown();
      return last.mode === mode && last.inMode === nodes.length && last.missing.length === 0;
    };
    await waitUntil(look, {
      what: () => `all in ${mode}: ${JSON.stringify(last)}`,
      timeoutMs: reportMs,
      everyMs: 500,
    });
  }

  test("begins with off: `rollout off` makes the mesh, and agents that come are in it", async () => {
    expect(await copied(show)).toMatchObject({ exitCode: 0 });
    expect(await shown()).toEqual({
      next: "permissive",
      nodes: 0,
      inMode: 0,
      covered: 0,
      missing: [],
      leftOut: [],
    } as never);
    expect(await rollout("off")).toMatchObject({ exitCode: 0 });
    // As nodes whose agents have not reported yet.
    for (const node of nodes) {
      await registerNode(server, node);
      const object = await server.admin.get(`${nodesPath}/${node.name}`);
      await server.admin.apply(recordPath(node.name), recordObject(object, {}));
    }
    expect(await rollout("permissive")).toMatchObject({ exitCode: 3 });
    expect(await missing()).toEqual(nodes.map(({ name }) => name));
    // A server may know the policy before it knows the kind of its parameters, or those.
    for (const mode of ["permissive", "strict"]) await refusesStep(mode);
    for (const node of nodes) await giveAccount(server, node);
    agents = await Promise.all(nodes.map((node) => startAgent(node, agentOptions)));
    expect(await plaintextDuring(1000)).toBeGreaterThan(0);
    await covered("off");
    expect(await plaintextDuring(1000)).toBeGreaterThan(0);
  }, 400_000);

  test("a node without an agent keeps from every step, by name", async () => {
    await createNode(server.admin, "bare", { internalIPs: ["192.0.2.66"] });
    expect(await rollout("permissive")).toMatchObject({ exitCode: 3 });
    expect(await missing()).toEqual(["bare"]);
    const labels = { "kubernetes.io/os": "windows" };
    await server.admin.patch(`${nodesPath}/bare`, { metadata: { labels } });
    expect(await shown()).toMatchObject({ missing: [], leftOut: ["bare"] });
    expect(await missing("--selector", "kubernetes.io/os")).toEqual(["bare"]);
  });

  test("permissive: all pairs are encrypted, and strict has to wait until nothing is in plaintext", async () => {
    expect(await copied(toPermissive)).toMatchObject({ exitCode: 0 });
    await refusesStep("strict");
    expect(await copied(toStrict)).toMatchObject({ exitCode: 3 });
    await covered("permissive");
    expect(await plaintextDuring(2000)).toBe(0);
  }, 400_000);

  test("what goes in plaintext keeps from strict", async () => {
    // A pod of n2 that answers from the uplink's own address is in plaintext by design.
    const node = nodes[1] as Node;
    node.must(["ip", "rule", "add", "priority", "90", "to", "10.244.1.0/24", "lookup", "main"]);
    // As long as the rule is there, the kernel says so of the peer, whether packets come or not.
    await waitUntil(async () => (await reasonOf(node)) === "PeersInPlaintext", {
      what: "the peer in plaintext being reported",
      timeoutMs: reportMs,
      everyMs: 500,
    });
    expect(await missing()).toContain(node.name);
    await refusesStep("strict");
    node.must(["ip", "rule", "delete", "priority", "90"]);
    lastPlaintextMs = Date.now();
    await covered("permissive");
  }, 400_000);

  test("an agent that is restarted does not begin its quiet time anew", async () => {
    await Bun.sleep(Math.max(0, lastPlaintextMs + quietMs + marginMs - Date.now()));
    await (agents[0] as Agent).kill();
    agents[0] = await startAgent(n1(), optionsOf(`${quietMs / 1000}s`));
    // If it began anew, its first report would say so, long before the quiet time is over.
    const untilMs = Date.now() + firstReportMs;
    while (Date.now() < untilMs) {
      expect(await missing()).toEqual([]);
      await Bun.sleep(1000);
    }
    await unrefused(() => kubectlSets("strict", { dryRun: true }), "wg-cni-rollout");
  }, 120_000);

  test("strict: the step is taken, which a plain kubectl may do, too, and a node that joins begins in it", async () => {
    await unrefused(() => kubectlSets("strict", { dryRun: true }), "wg-cni-rollout");
    expect(await copied(toStrict)).toMatchObject({ exitCode: 0 });
    await covered("strict");
    expect(await plaintextDuring(2000)).toBe(0);
    const late = await addNode(lab, 4);
    await registerNode(server, late);
    await giveAccount(server, late);
    await startAgent(late);
    await waitUntil(async () => (await server.admin.find(recordPath("n4"))) !== undefined, {
      what: "the record of n4",
      timeoutMs: soonMs,
    });
    // Its first programming was strict already: routes of refusal, never of throwing to the main table.
    const routes = late.must(["ip", "route", "show", "table", "18099"]);
    expect(routes).toMatch(/prohibit|dev wg-cni-/);
    expect(routes).not.toMatch(/throw 10\.244\.[123]/);
    const said = async () => (await server.admin.get(recordPath("n4")))["status"]?.encryptedPeers;
    await waitUntil(async () => (await said()) === nodes.length, {
      what: "n4 being shown as encrypted",
      timeoutMs: joinedMs,
    });
    await server.admin.remove(`${nodesPath}/n4`);
  }, 400_000);

  test("back, step by step, and no packet was lost from the first to the last", async () => {
    const [back = ""] = documented.take("docs/guides/rollout.md", "wg-cni rollout permissive");
    const [backAlready = ""] = documented.take("docs/guides/uninstall.md", "wg-cni rollout permissive");
    for (const command of [back, backAlready]) expect(await copied(command)).toMatchObject({ exitCode: 0 });
    await waitUntil(async () => (await shown()).inMode >= nodes.length, {
      what: "all nodes being permissive",
      timeoutMs: reportMs,
      everyMs: 500,
    });
    expect(await rollout("off")).toMatchObject({ exitCode: 0 });
    await waitUntil(async () => (await plaintextDuring(300)) > 0, {
      what: "pods in plaintext",
      timeoutMs: soonMs,
    });
    await Bun.sleep(3000);
    const results = await streams.stop();
    expect(losses(results)).toEqual({});
    expect(results.reduce((sum, { received }) => sum + received, 0)).toBeGreaterThan(10_000);
    await Promise.all(agents.map((agent) => agent.stop()));
  }, 400_000);

  test("a mesh cannot begin in strict mode if nodes have pods already", async () => {
    await server.admin.remove(meshPath);
    const mesh = {
      apiVersion: "wg-cni.dev/v1alpha1",
      kind: "WireGuardMesh",
      metadata: { name: "default" },
      spec: { mode: "strict" },
    };
    // The Windows and the virtual node have no taint, and no agent that would take it off.
    await createNode(server.admin, "virtual", { internalIPs: ["192.0.2.67"] });
    await server.admin.patch(`${nodesPath}/virtual`, { metadata: { labels: { type: "virtual-kubelet" } } });
    await refused(server.admin.apply(meshPath, mesh), "may have pods already");
    for (const { name } of nodes)
      await server.admin.patch(`${nodesPath}/${name}`, {
        spec: { taints: [{ key: "wg-cni.dev/agent-not-ready", effect: "NoSchedule" }] },
      });
    await unrefused(() => server.admin.apply(meshPath, mesh), "may have pods already");
    const other = { ...mesh, metadata: { name: "other" } };
    await refused(server.admin.apply(meshPath.replace("default", "other"), other), "its name is default");
  });

  test("every documented block that names this test has been run", () => expect(documented.left).toEqual([]));
});
