// A record may not take claims from another one, on a real API server with real tokens. The control is
// in the last tests: claims that no other record has are accepted.

import { beforeAll, describe, expect, test } from "bun:test";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import type { KubeClient, KubeObject, KubeRefusal } from "./support/kube-client.ts";
import {
  agentOf,
  createNode,
  type RecordFields,
  recordObject,
  recordPath,
  recordsPath,
} from "./support/nodes.ts";
import { denied, deniedBy, refused, unrefused } from "./support/rejected.ts";
import { withApiServer } from "./support/with-api-server.ts";

const slot = (name: "a" | "b", key: number) => ({
  ...{ slot: name, publicKey: Buffer.alloc(32, key).toString("base64") },
  ...{ port: name === "a" ? 51820 : 51821, state: "active" },
});
const slotsOf = (first: number) => [slot("a", first), slot("b", first + 1)] as const;
const slots = slotsOf(1);
/** Of n2. */
const network: RecordFields = {
  ...{ slots: slotsOf(11), endpoints: [], nodeIPs: ["192.0.2.2"] },
  podCIDRs: ["10.60.2.0/24", "198.18.2.7/32", "fd60:2::/64"],
};
const good: RecordFields = { slots, endpoints: ["192.0.2.1"], nodeIPs: ["192.0.2.1"], podCIDRs: [] };

describeKube("what another record has", () => {
  const server = withApiServer(withLab("own-claims"), ["crd", "rbac", "policy"]);
  let n1: KubeObject;
  let n2: KubeObject;
  /** Agent of n1. */
  let agent: KubeClient;

  beforeAll(async () => {
    const { admin } = server;
    // Its kubelet has written more than the node has.
    const internalIPs = ["192.0.2.1", "192.0.2.2", "192.0.2.4", "10.60.2.9", "10.244.4.7", "8.8.8.8"];
    n1 = await createNode(admin, "n1", { internalIPs });
    n2 = await createNode(admin, "n2", { internalIPs: ["192.0.2.2", "2001:db8::2"] });
    await createNode(admin, "n4", { internalIPs: ["192.0.2.4"], podCIDRs: ["10.244.4.0/24"] });
    agent = await agentOf(server, "n1");
    await write({});
    await admin.apply(recordPath("n2"), recordObject(n2, network));
  });

  const write = (spec: object, options = { dryRun: false }) =>
    agent.apply(recordPath("n1"), recordObject(n1, { ...good, ...spec }), options);
  /** Returns the answer that write() would get. */
  const ask = (spec: object) => write(spec, { dryRun: true });

  const records = "wg-cni-own-claims";
  const nodes = "wg-cni-others-nodes";
  const [taken, other] = slotsOf(11);
  /** Of a refusal that names the key and whose it is. */
  const namesTaken = (answer: KubeRefusal) => {
    expect(deniedBy(answer)).toBe(records);
    expect(answer.message).toContain(taken.publicKey);
    expect(answer.message).toEndWith(" n2");
  };
  const patch = (spec: object) => agent.patch(recordPath("n1"), { spec });

  test.each<[string, readonly object[]]>([
    ["in the same slot", [taken, slots[1]]],
    ["in the other slot", [slots[0], { ...taken, slot: "b" }]],
    ["alone", [taken]],
    ["withdrawn", [{ ...taken, state: "withdrawn" }, slots[1]]],
    ["beside the other one", [taken, other]],
  ])("a key of it is refused %s", async (_, stolen) => {
    const answer = await denied(() => ask({ slots: stolen }), [records]);
    expect(answer).toMatchObject({ status: 403, reason: "Forbidden" });
    namesTaken(answer);
  });

  test("a key of it is refused to a patch, an update and a record that is made anew", async () => {
    namesTaken(await refused(patch({ slots: [taken] })));
    await server.admin.remove(recordPath("n1"));
    namesTaken(await refused(write({ slots: [taken] })));
    const create = agent.create(recordsPath, recordObject(n1, { ...good, slots: [taken] }));
    namesTaken(await refused(create));
    expect(await write({})).toMatchObject({ spec: good });
  });

  test("does not keep the one who had it from writing its record", async () => {
    await server.admin.apply(recordPath("n2"), recordObject(n2, { slots }), {
      manager: "kubectl",
      force: true,
    });
    const draining = [{ ...slots[0], state: "draining" }, slots[1]];
    await unrefused(() => write({ slots: draining }), records);
    expect(await write({ slots: [...draining].reverse() })).toMatchObject({
      spec: { endpoints: good.endpoints },
    });
    await server.admin.apply(recordPath("n2"), recordObject(n2, { slots: slotsOf(11) }), {
      ...{ manager: "kubectl", force: true },
    });
  });

  test("a key is free once that record has another", async () => {
    await server.admin.patch(recordPath("n2"), { spec: { slots: slotsOf(13) } });
    await unrefused(() => write({ slots: [taken] }), records);
    await write({});
    await server.admin.patch(recordPath("n2"), { spec: { slots: slotsOf(11) } });
  });

  test("the empty key is no key of a node that has none", async () => {
    const none = [{ ...slots[0], publicKey: Buffer.alloc(32).toString("base64") }];
    await server.admin.patch(recordPath("n2"), { spec: { slots: none } });
    expect(await write({ slots: none })).toMatchObject({ spec: { slots: none } });
    await write({});
    await server.admin.patch(recordPath("n2"), { spec: { slots: slotsOf(11) } });
  });

  describe("its networks", () => {
    test.each<[string, RecordFields, by: readonly string[], owner: string]>([
      ["its pod CIDR", { podCIDRs: ["10.60.2.0/24"] }, [records], "n2"],
      ["a part of it", { podCIDRs: ["10.60.2.128/25"] }, [records], "n2"],
      ["one address of it", { podCIDRs: ["10.60.2.9/32"] }, [records], "n2"],
      ["IPv6", { podCIDRs: ["fd60:2::9/128"] }, [records], "n2"],
      ["a wider network", { podCIDRs: ["10.60.0.0/16"] }, [records], "n2"],
      ["a network with one of its pods", { podCIDRs: ["198.18.2.0/24"] }, [records], "n2"],
      ["a network with its node IP", { podCIDRs: ["192.0.2.0/30"] }, [records, nodes], "n2"],
      ["its address, for pods", { podCIDRs: ["192.0.2.2/32"] }, [nodes], "n2"],
      ["its address, IPv6", { podCIDRs: ["2001:db8::2/128"] }, [nodes], "n2"],
      ["the address of a Node without a record", { podCIDRs: ["192.0.2.4/32"] }, [nodes], "n4"],
      ["the pod CIDR of such a Node", { podCIDRs: ["10.244.4.128/25"] }, [nodes], "n4"],
      ["half of the cluster", { podCIDRs: ["10.240.0.0/12"] }, [nodes], "n4"],
      ["another node's address as node IP", { nodeIPs: ["192.0.2.1", "192.0.2.2"] }, [nodes], "n2"],
      ["such a Node's address as node IP", { nodeIPs: ["192.0.2.4"] }, [nodes], "n4"],
      ["one of its pods as node IP", { nodeIPs: ["10.60.2.9"] }, [records], "n2"],
      ["one of the other's pods as node IP", { nodeIPs: ["10.244.4.7"] }, [nodes], "n4"],
    ])("%s is refused", async (_, spec, by, owner) => {
      const answer = await denied(() => ask(spec), by);
      expect(answer).toMatchObject({ status: 403, reason: "Forbidden" });
      expect(answer.message).toMatch(new RegExp(`\\b${owner}\\b`));
    });

    test("a network that no other record has is accepted, and so is a pod's address that has moved here", async () => {
      const spec = { podCIDRs: ["10.61.0.0/24", "198.18.2.7/32"], nodeIPs: ["192.0.2.1", "8.8.8.8"] };
      expect(await write(spec)).toMatchObject({ spec });
      await write({});
    });

    test("a Node that is not ready keeps its address from no other node", async () => {
      const conditions = [{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }];
      await server.admin.patch("/api/v1/nodes/n4/status", { status: { conditions } });
      const spec = { nodeIPs: ["192.0.2.1", "192.0.2.4"] };
      expect(await unrefused(() => write(spec), nodes)).toMatchObject({ spec });
      await write({});
    });

    test("a Node that lists another Node's address does not keep that one from joining", async () => {
      const n5 = await createNode(server.admin, "n5", { internalIPs: ["8.8.8.8"] });
      const joins = recordObject(n5, { slots: slotsOf(51), nodeIPs: ["8.8.8.8"] });
      const fifth = await agentOf(server, "n5");
      expect(await fifth.apply(recordPath("n5"), joins)).toMatchObject({ spec: { nodeIPs: ["8.8.8.8"] } });
      const { message } = await denied(() => ask({ nodeIPs: ["192.0.2.1", "8.8.8.8"] }), [nodes]);
      expect(message).toMatch(/\bn5\b/);
    });
  });
});
