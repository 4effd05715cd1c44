// Cluster CIDRs that hold what is no pod's, on a real API server: admission refuses what it can see, and agents
// refuse the rest when they read the object, with an event, a log line and a condition that stops a rollout.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { addNode, wgJson } from "../kernel/support/mesh-reference.ts";
import type { Agent } from "../lab/agent.ts";
import { gateways } from "../lab/lab.ts";
import { knowsPeers } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { joinByApi } from "./support/join.ts";
import { createNode, nodesPath, recordObject, recordPath } from "./support/nodes.ts";
import { denied, refused } from "./support/rejected.ts";
import { withApiServer } from "./support/with-api-server.ts";

setDefaultTimeout(240_000);

const meshPath = "/apis/wg-cni.dev/v1alpha1/wireguardmeshes/default";
const eventsPath = "/apis/events.k8s.io/v1/namespaces/kube-system/events";
/** Reports come every 30 to 45 s. */
const reportMs = 180_000;

const meshObject = (spec: object) => ({
  apiVersion: "wg-cni.dev/v1alpha1",
  kind: "WireGuardMesh",
  metadata: { name: "default" },
  spec,
});

describeKube("cluster CIDRs", () => {
  const lab = withLab("cidrs");
  const server = withApiServer(lab, ["crd", "rbac", "policy", "mesh"]);
  let nodes: [Node, Node];
  let agents: Agent[];

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2)];
    agents = await joinByApi(server, nodes);
    await Promise.all(nodes.map((node) => knowsPeers(node, nodes)));
  });

  const holdsNode = "wg-cni-cluster-cidrs";
  const holdsRecord = "wg-cni-cluster-cidrs-records";

  const write = (clusterCIDRs: readonly string[], mode = "permissive", dryRun = true) =>
    server.admin.apply(meshPath, meshObject({ mode, clusterCIDRs }) as never, { dryRun });
  const followed = async (node: Node) => {
    const { settings } = JSON.parse((await node.wg(["status", "--json"])).stdout) as {
      settings: readonly { name: string; value: string }[];
    };
    return settings.find(({ name }) => name === "clusterCIDRs")?.value;
  };

  describe("admission refuses", () => {
    test.each([
      ["0.0.0.0/0", "too wide"],
      ["::/0", "too wide"],
      ["0.0.0.0/1", "too wide"],
      ["127.0.0.0/8", "loopback"],
      ["169.254.0.0/16", "link-local"],
      ["fe80::/64", "link-local"],
      ["224.0.0.0/8", "multicast"],
      ["ff02::/16", "multicast"],
      ["10.0.0.1/8", "host bits"],
      ["10.0.0/8", "not a CIDR"],
    ])("%s", (cidr, says) => refused(write(["10.244.0.0/16", cidr]), says));

    test("more than 64", () => refused(write(Array.from({ length: 65 }, (_, i) => `10.${i}.0.0/16`)), "65"));

    test.each([
      ["a node's network", "192.0.2.0/24"],
      ["the same in IPv6", "2001:db8::/64"],
      ["one node", "192.0.2.2/32"],
    ])("%s", async (_what, cidr) => {
      const { message } = await denied(() => write(["10.244.0.0/16", cidr]), [holdsNode, holdsRecord]);
      expect(message).toContain(cidr);
    });

    test("a Node that has no record", async () => {
      await createNode(server.admin, "n7", { internalIPs: ["198.51.100.7"] });
      await denied(() => write(["198.51.100.0/24"]), [holdsNode]);
      await server.admin.remove(`${nodesPath}/n7`);
    });

    test("what only a record has", async () => {
      const node = await createNode(server.admin, "n9", { internalIPs: ["203.0.113.9"] });
      await server.admin.apply(recordPath("n9"), recordObject(node, { endpoints: ["198.18.0.9"] }));
      await denied(() => write(["198.18.0.0/15"]), [holdsRecord]);
      await server.admin.remove(recordPath("n9"));
      await server.admin.remove(`${nodesPath}/n9`);
    });

    test("but not the pods' own networks, of both families", async () => {
      expect(await write(["10.244.0.0/16", "fd00:10:244::/48"])).toMatchObject({
        spec: { mode: "permissive" },
      });
    });
  });

  test("agents do not take what admission cannot see: the last good value holds, and it is said", async () => {
    await write(["10.244.0.0/16"], "permissive", false);
    for (const node of nodes)
      await waitUntil(async () => (await followed(node)) === "10.244.0.0/16", {
        what: `${node.name} follows`,
      });
    // The gateway, which is also the API server: no object says so.
    await write(["10.244.0.0/16", "192.0.2.252/30"], "permissive", false);
    for (const agent of agents) {
      const { message } = await agent.waitFor((line) => line.message.includes("192.0.2.252/30"));
      expect(message).toContain(gateways[4]);
    }
    for (const node of nodes) {
      expect(await followed(node)).toBe("10.244.0.0/16");
      const { rejectedRecords } = await wgJson<{ rejectedRecords: readonly { file: string }[] }>(node, [
        "peer",
        "list",
      ]);
      expect(rejectedRecords).toMatchObject([{ file: "wireguardmesh/default" }]);
    }
    const told = async () => {
      const answer = await server.admin.send("GET", `${eventsPath}?fieldSelector=reason%3DMeshRefused`);
      const { items } = (await answer.json()) as { items: readonly { regarding: { name: string } }[] };
      return items.length >= nodes.length && items.every(({ regarding }) => regarding.name === "default");
    };
    await waitUntil(told, { what: "an event of each node", timeoutMs: reportMs, everyMs: 500 });
    const covered = async ({ name }: Node) => {
      const { status } = (await server.admin.get(recordPath(name))) as unknown as {
        status: { conditions: readonly { type: string; reason: string; status: string }[] };
      };
      return status.conditions.find(({ type }) => type === "Covered");
    };
    for (const node of nodes) {
      await waitUntil(async () => (await covered(node))?.reason === "ClusterCIDRRefused", {
        what: `${node.name} is not covered`,
        timeoutMs: reportMs,
        everyMs: 500,
      });
      expect((await covered(node))?.status).toBe("False");
    }
    await denied(() => write(["10.244.0.0/16", "192.0.2.252/30"], "strict"), ["wg-cni-rollout"]);
  });

  test("a step of the mode is not refused for what is there already, and a good value is taken again", async () => {
    // A node joins with an address in what was good.
    await write(["10.244.0.0/16", "198.18.0.0/15"], "permissive", false);
    const node = await createNode(server.admin, "n8", { internalIPs: ["198.18.0.8"] });
    await denied(() => write(["10.244.0.0/16", "198.18.0.0/16"]), [holdsNode]);
    expect(await write(["10.244.0.0/16", "198.18.0.0/15"], "off")).toMatchObject({ spec: { mode: "off" } });
    await server.admin.remove(`${nodesPath}/${node.metadata.name}`);
    for (const one of nodes)
      await waitUntil(async () => (await followed(one)) === "10.244.0.0/16,198.18.0.0/15", {
        what: `${one.name} follows again`,
      });
  });
});
