// The start-up taint on a real API server: it stays until a node is ready for pods,
// goes then and no other with it, and the agent's right to do so is worth nothing else.
import { beforeAll, expect, test } from "bun:test";
import { addNode } from "../kernel/support/mesh-reference.ts";
import type { Agent } from "../lab/agent.ts";
import type { Node } from "../lab/node.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { giveAccount, registerNode, startAgent } from "./support/join.ts";
import type { KubeClient } from "./support/kube-client.ts";
import { applyManifests } from "./support/manifests.ts";
import { agentOf, createNode, nodesPath } from "./support/nodes.ts";
import { refused, unaccepted, unrefused } from "./support/rejected.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

const key = "wg-cni.dev/agent-not-ready";
const startup = { key, effect: "NoSchedule" };
const other = { key: "example.com/busy", value: "yes", effect: "NoSchedule" };
const soonMs = 60_000;

interface Taint {
  readonly key: string;
}

describeKube("the start-up taint", () => {
  const lab = withLab("taint");
  const server = withApiServer(lab, ["crd", "rbac", "policy", "mesh"]);
  let node: Node;
  let agent: Agent;

  beforeAll(async () => {
    node = await addNode(lab, 1);
    await registerNode(server, node);
    await giveAccount(server, node);
    await putTaints([other, startup]);
    const spec = { mode: "strict", clusterCIDRs: ["10.244.0.0/16"] };
    const mesh = { apiVersion: "wg-cni.dev/v1alpha1", kind: "WireGuardMesh", metadata: { name: "default" } };
    const create = () => server.admin.create("/apis/wg-cni.dev/v1alpha1/wireguardmeshes", { ...mesh, spec });
    await unrefused(create, "may have pods already");
  }, startTimeoutMs);

  const putTaints = (taints: readonly object[]) =>
    server.admin.patch(`${nodesPath}/n1`, { spec: { taints } });
  const taintsOf = async () =>
    (((await server.admin.get(`${nodesPath}/n1`))["spec"].taints ?? []) as Taint[]).map((taint) => taint.key);
  const untainted = async () => !(await taintsOf()).includes(key);

  test("stays while the node is not ready: its installation has nothing to be added to", async () => {
    node.must(["mkdir", "-p", "/etc/cni/net.d", "/opt/wg/bin"]);
    const directories = ["--install-conf-dir", "/etc/cni/net.d", "--install-bin-dir", "/opt/wg/bin"];
    agent = await startAgent(node, { args: directories });
    await agent.waitFor("this node's record is published", soonMs);
    // Three looks.
    await Bun.sleep(6000);
    expect(await taintsOf()).toEqual([other.key, key]);
  });

  test("stays without the right to take it off, and that is said once with what to do", async () => {
    const list = { cniVersion: "1.0.0", name: "pods", plugins: [{ type: "loopback" }] };
    node.must(["cp", "/usr/lib/cni/loopback", "/opt/wg/bin/"]);
    node.must(
      ["sh", "-c", "cat >/etc/cni/net.d/new && mv /etc/cni/net.d/new /etc/cni/net.d/10-pods.conflist"],
      {
        stdin: JSON.stringify(list),
      },
    );
    const { message } = await agent.waitFor("stays on this node", soonMs);
    expect(message).toMatch(/nodes "n1" is forbidden.*startup-taint\.yaml.*kubectl taint node/);
    await Bun.sleep(3000);
    const said = agent.lines().filter((line) => line.message.includes("stays on this node"));
    expect(said).toHaveLength(1);
    expect(await taintsOf()).toEqual([other.key, key]);
  });

  test("goes once it may, alone, and when it does nothing of a pod could leave in plaintext", async () => {
    await applyManifests(server.admin, ["startup-taint"]);
    await waitUntil(untainted, { what: "the taint being gone", timeoutMs: soonMs });
    expect(node.must(["ip", "route", "show", "table", "18098"])).toContain("prohibit 10.244.0.0/16");
    expect(node.must(["cat", "/etc/cni/net.d/10-pods.conflist"])).toContain('"wg-cni"');
    expect(await taintsOf()).toEqual([other.key]);
    await agent.waitFor("pods may be scheduled here", soonMs);
  });

  test("goes again from a node that gets it later", async () => {
    await putTaints([startup, other, { ...startup, effect: "NoExecute" }]);
    await waitUntil(untainted, { what: "the taint being gone again", timeoutMs: soonMs });
    expect(await taintsOf()).toEqual([other.key]);
  });

  test("the right to take it off is worth nothing else", async () => {
    await agent.stop();
    await putTaints([other, startup]);
    const own = await agentOf(server, "n1");
    const change = (by: KubeClient, spec: object, metadata: object = {}, dryRun = false) =>
      by.patch(`${nodesPath}/n1`, { metadata, spec }, { dryRun });
    // The policy is obeyed once it refuses.
    await unaccepted(() => change(own, { unschedulable: true }, {}, true), "and no other, and adds none");
    await refused(change(own, { taints: [] }), "and no other, and adds none");
    await refused(change(own, { taints: [startup] }), "and no other, and adds none");
    await refused(change(own, { taints: [other, startup, { ...other, key: "x/y" }] }), "adds none");
    await refused(change(own, { taints: [other], providerID: "mine" }), "nothing of its Node's spec");
    await refused(change(own, { taints: [other], unschedulable: true }), "nothing of its Node's spec");
    await refused(change(own, { taints: [other] }, { labels: { a: "b" } }), "no labels");
    await refused(change(own, { taints: [other] }, { annotations: { a: "b" } }), "no labels");
    await createNode(server.admin, "n2");
    await refused(
      change(await agentOf(server, "n2"), { taints: [other] }),
      "the agent of node n2 may change only Node n2",
    );
    expect(await taintsOf()).toEqual([other.key, key]);
    await change(own, { taints: [other] });
    expect(await taintsOf()).toEqual([other.key]);
  });
});
