// A pod can write for a Node that is gone: its token stays good for as long as the
// pod is there, no admission policy can find out that there is no Node, and the garbage
// collector comes after the write. So the agents ask, on a real API server.
import { beforeAll, expect, test } from "bun:test";
import { addNode, wgJson } from "../kernel/support/mesh-reference.ts";
import type { Node } from "../lab/node.ts";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import { joinByApi } from "./support/join.ts";
import type { KubeClient, KubeObject } from "./support/kube-client.ts";
import { agentOf, createNode, nodesPath, recordObject, recordPath } from "./support/nodes.ts";
import { refused, unaccepted } from "./support/rejected.ts";
import { startTimeoutMs, withApiServer } from "./support/with-api-server.ts";

const slots = (n: number) => [
  { slot: "a", publicKey: Buffer.alloc(32, n).toString("base64"), port: 51820, state: "active" },
];

describeKube("a token of a deleted Node", () => {
  const lab = withLab("deleted-node");
  const server = withApiServer(lab, ["crd", "rbac", "policy"]);
  let n1: Node;
  let n2: KubeObject;
  /** A copy of the token of the agent of n2. */
  let stolen: KubeClient;

  beforeAll(async () => {
    n1 = await addNode(lab, 1);
    await joinByApi(server, [n1]);
    n2 = await makeSecond();
    stolen = await agentOf(server, "n2");
  }, startTimeoutMs);

  const makeSecond = () =>
    createNode(server.admin, "n2", { internalIPs: ["192.0.2.2"], podCIDRs: ["10.244.2.0/24"] });
  const write = (
    by: KubeClient,
    node: KubeObject,
    key: number,
    { podCIDR = "10.244.2.0/24", dryRun = false } = {},
  ) => {
    const spec = { slots: slots(key), endpoints: ["192.0.2.2"], nodeIPs: ["192.0.2.2"], podCIDRs: [podCIDR] };
    return by.apply(recordPath("n2"), recordObject(node, spec), { dryRun });
  };
  const list = () =>
    wgJson<{
      readonly peers: readonly { readonly name: string; readonly slots: readonly { publicKey: string }[] }[];
      readonly rejectedRecords: readonly { readonly file: string; readonly reason: string }[];
    }>(n1, ["peer", "list"]);
  const keyOfSecond = async () =>
    (await list()).peers.find(({ name }) => name === "n2")?.slots[0]?.publicKey ?? "";
  const reasonOfSecond = async () =>
    (await list()).rejectedRecords.find(({ file }) => file === "wireguardnode/n2")?.reason ?? "";
  const until = (what: string, look: () => Promise<boolean>) => waitUntil(look, { what, timeoutMs: 60_000 });
  const key = (n: number) => slots(n)[0]?.publicKey;

  test("writes while the Node is there, and its peer is taken", async () => {
    await write(stolen, n2, 11);
    await until("n2 is a peer", async () => (await keyOfSecond()) === key(11));
  });

  test("writes on when the Node is gone, and is not heard: its peer leaves", async () => {
    await server.admin.remove(`${nodesPath}/n2`);
    // No controller runs, so nobody collects the record or deletes the pod: this is the API's answer to the token.
    await write(stolen, n2, 12);
    // As the garbage collector does, and the token's holder after it.
    await server.admin.remove(recordPath("n2"));
    expect(await write(stolen, n2, 13, { podCIDR: "10.0.0.0/9" })).toMatchObject({
      spec: { podCIDRs: ["10.0.0.0/9"] },
    });
    await until("it is refused", async () => (await reasonOfSecond()).startsWith("there is no Node n2"));
    expect(await keyOfSecond()).not.toBe(key(13));
    await until("n2 is no peer", async () => (await keyOfSecond()) === "");
  });

  test("is not heard by writing the record anew, with any content and any owner", async () => {
    const owners = [n2.metadata.uid ?? "", "00000000-0000-0000-0000-000000000000"];
    for (const [round, uid] of owners.entries()) {
      await server.admin.remove(recordPath("n2"));
      const node = { ...n2, metadata: { ...n2.metadata, uid } };
      await write(stolen, node, 20 + round);
      await until("it is refused", async () => (await reasonOfSecond()).startsWith("there is no Node n2"));
      expect(await keyOfSecond()).toBe("");
    }
  });

  test("does not write in the name of the earlier Node once there is another, which is taken", async () => {
    const second = await makeSecond();
    const says = "the owner of the record must be the present Node n2";
    await unaccepted(() => write(stolen, n2, 31, { dryRun: true }), says);
    await refused(write(stolen, n2, 31), says);
    expect(await keyOfSecond()).toBe("");
    await write(await agentOf(server, "n2"), second, 32);
    await until("the new n2 is a peer", async () => (await keyOfSecond()) === key(32));
    await until("nothing is refused", async () => (await reasonOfSecond()) === "");
  });
});
