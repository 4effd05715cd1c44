// What a record may not take from another one, on a real API server with real tokens. The control is
// in the last tests: what no other record has is accepted.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { ApiServer } from "./support/api-server.ts";
import { describeKube } from "./support/gate.ts";
import type { KubeClient, KubeObject } from "./support/kube-client.ts";
import { applyManifests, policiesObeyed } from "./support/manifests.ts";
import {
  agentOf,
  createNode,
  type RecordFields,
  recordObject,
  recordPath,
  recordsPath,
} from "./support/nodes.ts";
import { refused, unaccepted, unrefused } from "./support/refused.ts";

const slot = (name: "a" | "b", key: number) => ({
  ...{ slot: name, publicKey: Buffer.alloc(32, key).toString("base64") },
  ...{ port: name === "a" ? 51820 : 51821, state: "active" },
});
const slotsOf = (first: number) => [slot("a", first), slot("b", first + 1)] as const;
const slots = slotsOf(1);
const good: RecordFields = { slots, endpoints: ["192.0.2.1"], nodeIPs: ["192.0.2.1"], podCIDRs: [] };

describeKube("what another record has", () => {
  let server: ApiServer;
  let n1: KubeObject;
  let n2: KubeObject;
  /** Agent of n1. */
  let agent: KubeClient;

  beforeAll(async () => {
    server = await ApiServer.start();
    const { admin } = server;
    await applyManifests(admin, ["crd", "rbac", "policy"]);
    n1 = await createNode(admin, "n1", { internalIPs: ["192.0.2.1"] });
    n2 = await createNode(admin, "n2", { internalIPs: ["192.0.2.2"] });
    agent = await agentOf(server, "n1");
    await policiesObeyed(agent, n1);
    await write({});
    await (await agentOf(server, "n2")).apply(recordPath("n2"), recordObject(n2, { slots: slotsOf(11) }));
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  const write = (spec: object) => agent.apply(recordPath("n1"), recordObject(n1, { ...good, ...spec }));

  const [taken, other] = slotsOf(11);
  const says = `slots: the public key ${taken.publicKey} is already in the record n2`;
  const patch = (spec: object) => agent.patch(recordPath("n1"), { spec });

  test.each<[string, readonly object[]]>([
    ["in the same slot", [taken, slots[1]]],
    ["in the other slot", [slots[0], { ...taken, slot: "b" }]],
    ["alone", [taken]],
    ["withdrawn", [{ ...taken, state: "withdrawn" }, slots[1]]],
    ["beside the other one", [taken, other]],
  ])("a key of it is refused %s", async (_, stolen) => {
    const keys = "is already in the record n2";
    const answer = await unaccepted(() => write({ slots: stolen }), keys);
    expect(answer).toMatchObject({ status: 403, reason: "Forbidden" });
    expect(answer.message).toContain(stolen.length > 1 && stolen[1] === other ? keys : says);
  });

  test("a key of it is refused to a patch, an update and a record that is made anew", async () => {
    await refused(patch({ slots: [taken] }), says);
    await server.admin.remove(recordPath("n1"));
    await refused(write({ slots: [taken] }), says);
    await refused(agent.create(recordsPath, recordObject(n1, { ...good, slots: [taken] })), says);
    expect(await write({})).toMatchObject({ spec: good });
  });

  test("does not keep the one who had it from writing its record", async () => {
    await server.admin.apply(recordPath("n2"), recordObject(n2, { slots }), {
      manager: "kubectl",
      force: true,
    });
    const draining = [{ ...slots[0], state: "draining" }, slots[1]];
    await unrefused(() => write({ slots: draining }), "is already in the record");
    expect(await write({ slots: [...draining].reverse() })).toMatchObject({
      spec: { endpoints: good.endpoints },
    });
    await server.admin.apply(recordPath("n2"), recordObject(n2, { slots: slotsOf(11) }), {
      ...{ manager: "kubectl", force: true },
    });
  });

  test("a key is free once that record has another", async () => {
    await server.admin.patch(recordPath("n2"), { spec: { slots: slotsOf(13) } });
    await unrefused(() => write({ slots: [taken] }), "is already in the record");
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
});
