// Three agents form a mesh through the API alone: what each is comes from its Node
// object, whom it encrypts to from the others' records. Then the API goes away,
// comes back, forgets; keys are rotated through it; nodes and records go. Pods talk
// on all the while, and never in plaintext.
import { beforeAll, expect, test } from "bun:test";
import type { NodeRecord } from "../../src/net/record.ts";
import { wgJson, wgMust } from "../kernel/support/mesh-reference.ts";
import { knowsPeers } from "../lab/mesh.ts";
import type { Node } from "../lab/node.ts";
import { answering, paths, probePaths } from "../lab/path-matrix.ts";
import { eachWay, losses, Streams } from "../lab/stream.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { giveAccount, registerNode, startAgent } from "./support/join.ts";
import { allEncrypt, isEncrypted, joinThree, peersOf, refusedOf, ring, type Trio } from "./support/mesh.ts";
import { createNode, nodesPath, recordObject, recordPath, recordsPath } from "./support/nodes.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

const eventsPath = "/apis/events.k8s.io/v1/namespaces/kube-system/events";
/** Anything between API, agents and kernel on a busy machine. */
const soonMs = 60_000;
const rotationMs = 240_000;

describeKube("a mesh through the API", () => {
  const lab = withLab("sync");
  const server = withApiServer(lab, ["crd", "rbac", "policy"]);
  let nodes: Trio["nodes"];
  let pods: Trio["pods"];
  let agents: Trio["agents"];

  beforeAll(async () => {
    ({ nodes, pods, agents } = await joinThree(lab, server));
    await allEncrypt(nodes);
  }, startTimeoutMs);

  const pairs = () => ring(pods);
  const record = (node: Node) => wgJson<NodeRecord>(node, ["node", "show"]);
  const published = async (node: Node) => (await server.admin.find(recordPath(node.name)))?.["spec"];
  const n1 = () => nodes[0];

  async function allAnswer(): Promise<void> {
    for (const [one, other] of pairs())
      await waitUntil(async () => answering(await probePaths(one, other, 4)).length === paths.length, {
        what: `all paths between ${one.label} and ${other.label}`,
        timeoutMs: soonMs,
      });
  }

  /** Streams between all pods, and a capture of what is in plaintext, while something is done. */
  async function losesNothing(deed: () => Promise<void>): Promise<void> {
    const capture = await lab.capture("net 10.244.0.0/16 or ip6 net fd00:10:244::/48");
    const streams = await Streams.start([...eachWay(pairs(), 4), ...eachWay([pairs()[0]], 6)], { rate: 200 });
    await deed();
    const results = await streams.stop();
    expect(losses(results)).toEqual({});
    expect(results.reduce((sum, { received }) => sum + received, 0)).toBeGreaterThan(1000);
    expect((await capture.packets()).length).toBe(0);
  }

  test("each node is what its Node object says, and publishes that with its keys", async () => {
    for (const node of nodes) {
      const own = await record(node);
      expect(own).toMatchObject({ name: node.name, endpoints: node.nodeIps, nodeIPs: node.nodeIps });
      expect(own.podCIDRs).toEqual([...node.podCidrs]);
      expect(own.slots.map(({ slot }) => slot)).toEqual(["a", "b"]);
      const { name, ...spec } = own;
      expect(await published(node)).toEqual(spec);
      const { metadata } = await server.admin.get(recordPath(name));
      const { uid } = (await server.admin.get(`${nodesPath}/${name}`)).metadata;
      expect(metadata["ownerReferences"]).toEqual([{ apiVersion: "v1", kind: "Node", name, uid }]);
      // Its status has an entry of its own once there is one.
      const entries = metadata["managedFields"] as readonly { manager: string; subresource?: string }[];
      const managers = entries.filter(({ subresource }) => subresource === undefined);
      expect(managers.map(({ manager }) => manager)).toEqual(["wg-cni"]);
      expect((await peersOf(node)).map(({ name, source }) => `${name} ${source}`)).toEqual(
        nodes.filter((other) => other !== node).map((other) => `${other.name} kube`),
      );
    }
  });

  test("pods of different nodes reach each other encrypted, on all paths", async () => {
    await allAnswer();
    await losesNothing(() => Bun.sleep(3000));
  });

  test("the API shows the state of each node's peers", async () => {
    const said = async (node: Node) => (await server.admin.get(recordPath(node.name)))["status"];
    for (const node of nodes) {
      const isKnown = async () => {
        const { encryptedPeers, conditions = [] } = (await said(node)) ?? {};
        return (
          encryptedPeers === 2 &&
          conditions.some(({ reason }: { reason: string }) => reason === "JustStarted")
        );
      };
      await waitUntil(isKnown, {
        what: `the status of ${node.name}`,
        timeoutMs: 3 * soonMs,
      });
      const { peers, keyCreatedAt, conditions } = await said(node);
      expect({ peers, isRecent: Date.now() - Date.parse(keyCreatedAt) < 600_000 }).toEqual({
        peers: 2,
        isRecent: true,
      });
      expect(conditions).toMatchObject([
        { type: "NetworkEncrypted", status: "True", reason: "AllPeers" },
        { type: "RecordAccepted", status: "True", reason: "NoConflict" },
        // Nothing was in plaintext for long enough only minutes later.
        { type: "Covered", status: "False", reason: "JustStarted" },
      ]);
    }
  }, 300_000);

  test("nothing is written to the API while nothing changes", async () => {
    const versions = async () => {
      const { items } = await server.admin.get(recordsPath);
      return items.map(({ metadata }: { metadata: { resourceVersion: string } }) => metadata.resourceVersion);
    };
    const before = await versions();
    for (const node of nodes) await wgMust(node, ["sync"]);
    await Bun.sleep(5000);
    expect(await versions()).toEqual(before);
  });

  test("keys are rotated through the API, and no packet is lost", async () => {
    const before = await Promise.all(nodes.map(record));
    await losesNothing(async () => {
      const from = agents.map((agent) => agent.lines().length);
      await Promise.all(nodes.map((node) => wgMust(node, ["key", "rotate"])));
      await Promise.all(
        agents.map((agent, at) => agent.waitFor("the rotation is done", rotationMs, from[at]!)),
      );
    });
    for (const [at, node] of nodes.entries()) {
      const { slots } = await record(node);
      const old = before[at]!.slots.map(({ publicKey }) => publicKey);
      expect(slots.filter(({ publicKey }) => old.includes(publicKey))).toEqual([]);
      // It is announced in the same look, a moment after it was said.
      await waitUntil(async () => Bun.deepEquals((await published(node)).slots, slots), {
        what: `the new keys of ${node.name} in the API`,
        timeoutMs: soonMs,
      });
    }
  }, 400_000);

  test("an outage of the API changes nothing but what agents say; agents that start in it find the mesh", async () => {
    await losesNothing(async () => {
      const from = agents.map((agent) => agent.lines().length);
      await server.server.kill();
      await Promise.all(
        agents.map((agent, at) => agent.waitFor("The peers stay as they are", soonMs, from[at]!)),
      );
      expect((await refusedOf(n1())).map(({ file }) => file)).toEqual(["kubernetes"]);
      await agents[0]!.stop();
      agents[0] = await startAgent(n1());
      await agents[0].waitFor("The peers stay as they are", soonMs);
      await Bun.sleep(5000);
      expect((await peersOf(n1())).map(({ name }) => name)).toEqual(["n2", "n3"]);
      await server.server.start();
      await agents[0].waitFor("resolved: records cannot be read", 2 * soonMs);
    });
    await waitUntil(async () => (await refusedOf(n1())).length === 0, {
      what: "the outage being over",
      timeoutMs: soonMs,
    });
  }, 400_000);

  test("what changed during an outage is heard of afterwards", async () => {
    const [n1, n2, n3] = nodes;
    await server.server.kill();
    await wgMust(n3, ["down"]);
    await server.server.start();
    await waitUntil(async () => (await published(n3)).slots.length === 0, {
      what: "n3 withdrawing its keys",
      timeoutMs: 2 * soonMs,
    });
    await waitUntil(
      async () => JSON.stringify(await peersOf(n1)).includes('"slot":null') || !(await isEncrypted(n1, "n3")),
      {
        what: "n1 letting go of n3",
        timeoutMs: soonMs,
      },
    );
    await wgMust(n3, ["up"]);
    await waitUntil(async () => (await published(n3)).slots.length === 2, {
      what: "n3 being back",
      timeoutMs: soonMs,
    });
    for (const node of [n1, n2])
      await waitUntil(() => isEncrypted(node, "n3"), {
        what: `${node.name} encrypting to n3`,
        timeoutMs: soonMs,
      });
    await allAnswer();
  }, 400_000);

  test("a record that another client deletes is written again, and nothing is lost", async () => {
    const before = await published(n1());
    await losesNothing(async () => {
      await server.admin.remove(recordPath("n1"));
      const isBack = async () => (await published(n1())) !== undefined;
      await waitUntil(isBack, { what: "the record being back", timeoutMs: soonMs });
      await Bun.sleep(3000);
    });
    expect(await published(n1())).toEqual(before);
  }, 200_000);

  test("a record that another client changes is restored, and nothing is lost", async () => {
    const before = await published(n1());
    await losesNothing(async () => {
      await server.admin.patch(recordPath("n1"), { spec: { podCIDRs: [] } });
      const isBack = async () => (await published(n1())).podCIDRs.length > 0;
      await waitUntil(isBack, { what: "the CIDRs being back", timeoutMs: soonMs });
      await Bun.sleep(3000);
    });
    expect(await published(n1())).toEqual(before);
    await allAnswer();
  }, 200_000);

  test("a Node's new address is the node's, and its peers send there", async () => {
    const [n1, n2] = nodes;
    n1.must(["ip", "address", "add", "192.0.2.101/24", "dev", "eth0"]);
    const addresses = [...n1.nodeIps, "192.0.2.101"].map((address) => ({ type: "InternalIP", address }));
    await server.admin.patch(`${nodesPath}/n1/status`, { status: { addresses } });
    const expected = ["192.0.2.1", "192.0.2.101", "2001:db8::1"];
    await waitUntil(
      async () => JSON.stringify((await published(n1)).endpoints) === JSON.stringify(expected),
      {
        what: "the address being published",
        timeoutMs: soonMs,
      },
    );
    await waitUntil(async () => JSON.stringify(await peersOf(n2)).includes("192.0.2.101"), {
      what: "n2 knowing it",
      timeoutMs: soonMs,
    });
  });

  test("a record that claims what another node has gets nothing of it, on every node", async () => {
    const thief = await createNode(server.admin, "thief", { internalIPs: ["192.0.2.66"] });
    const key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    await server.admin.apply(
      recordPath("thief"),
      recordObject(thief, {
        slots: [{ slot: "a", publicKey: key, port: 51820, state: "active" }],
        endpoints: ["192.0.2.66"],
        nodeIPs: ["192.0.2.66", "192.0.2.2"],
        podCIDRs: ["10.244.2.0/24", "10.244.66.0/24"],
      }),
      { manager: "thief" },
    );
    for (const node of nodes)
      await waitUntil(async () => (await peersOf(node)).some(({ name }) => name === "thief"), {
        what: `${node.name} knowing it`,
        timeoutMs: soonMs,
      });
    for (const node of nodes) {
      const { refused } = (await peersOf(node)).find(({ name }) => name === "thief")!;
      expect(refused).toEqual([
        "pod CIDR 10.244.2.0/24 of thief is already n2's",
        "node IP 192.0.2.2/32 of thief is already n2's",
      ]);
    }
    await allAnswer();
    // Its owner reports it when its next report is due.
    const told = async () => {
      const { items } = await server.admin.get(eventsPath);
      return items.map(({ note }: { note: string }) => note).toSorted();
    };
    await waitUntil(async () => (await told()).length === 2, { what: "the events", timeoutMs: 3 * soonMs });
    expect(await told()).toEqual([
      "10.244.2.0/24 is refused to thief by all nodes: n2 had it first and keeps it until it lets go.",
      "192.0.2.2/32 is refused to thief by all nodes: n2 had it first and keeps it until it lets go.",
    ]);
    await server.admin.remove(`${nodesPath}/thief`);
  }, 400_000);

  test("a Node that is deleted takes its record and its peer along", async () => {
    await server.controllers.start();
    for (const node of nodes)
      await waitUntil(async () => !(await peersOf(node)).some(({ name }) => name === "thief"), {
        what: `${node.name} letting go of the thief`,
        timeoutMs: 2 * soonMs,
      });
    const [n1, n2, n3] = nodes;
    await server.admin.remove(`${nodesPath}/n3`);
    for (const node of [n1, n2])
      await waitUntil(async () => !(await peersOf(node)).some(({ name }) => name === "n3"), {
        what: `${node.name} letting go of n3`,
        timeoutMs: 2 * soonMs,
      });
    expect(await server.admin.find(recordPath("n3"))).toBeUndefined();
    expect((await refusedOf(n3)).map(({ file }) => file)).toEqual(["wireguardnode/n3"]);
    // It comes back under the same name, as after a repair.
    await registerNode(server, n3);
    await giveAccount(server, n3);
    await Promise.all(nodes.map((node) => knowsPeers(node, nodes)));
    await allAnswer();
  }, 400_000);
});
