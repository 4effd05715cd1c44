// The admission policies limit writes, on a real API server with real tokens: the agent of a node
// writes the record of that node, with the claims of that node, and nothing else.

import { beforeAll, describe, expect, test } from "bun:test";
import { waitUntil } from "../lab/wait.ts";
import { withLab } from "../lab/with-lab.ts";
import { describeKube } from "./support/gate.ts";
import type { KubeClient, KubeObject } from "./support/kube-client.ts";
import {
  agentOf,
  createNode,
  mintToken,
  nodesPath,
  type RecordFields,
  recordObject,
  recordPath,
  recordsPath,
  requestToken,
} from "./support/nodes.ts";
import { deniedBy, refused, unaccepted } from "./support/rejected.ts";
import { withApiServer } from "./support/with-api-server.ts";

const slots = [
  { slot: "a", publicKey: "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", port: 51820, state: "active" },
  { slot: "b", publicKey: "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=", port: 51821, state: "active" },
];
/** Keys that no other record has. */
const slotsOf = (first: number) =>
  slots.map((slot, i) => ({ ...slot, publicKey: Buffer.alloc(32, first + i).toString("base64") }));
const good: RecordFields = {
  slots,
  endpoints: ["192.0.2.1", "198.51.100.1"],
  nodeIPs: ["192.0.2.1", "2001:db8::1"],
  podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
};

describeKube("who may write what", () => {
  const server = withApiServer(withLab("policy"), ["crd", "rbac", "policy", "mesh"]);
  let n1: KubeObject;
  let n2: KubeObject;
  /** Agent of n1. */
  let agent: KubeClient;

  beforeAll(async () => {
    const { admin } = server;
    const addresses = { internalIPs: ["192.0.2.1", "2001:db8::1"], externalIPs: ["198.51.100.1"] };
    n1 = await createNode(admin, "n1", { ...addresses, podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"] });
    n2 = await createNode(admin, "n2", { internalIPs: ["192.0.2.2"], podCIDRs: ["10.244.2.0/24"] });
    agent = await agentOf(server, "n1");
  });

  const write = (spec: object, metadata: object = {}, by = agent) => {
    const record = recordObject(n1, { ...good, ...spec });
    return by.apply(recordPath("n1"), { ...record, metadata: { ...record.metadata, ...metadata } });
  };

  describe("the agent of a node", () => {
    test("writes the record of its node, and its status", async () => {
      expect(await write({})).toMatchObject({ spec: good });
      expect(await write({ podCIDRs: ["10.244.1.128/25"] })).toMatchObject({
        spec: { ...good, podCIDRs: ["10.244.1.128/25"] },
      });
      expect(await write({})).toMatchObject({ spec: good });
      expect(await applyStatus(agent, "n1", 2)).toMatchObject({ spec: good, status: { encryptedPeers: 2 } });
    });

    test("does not write the record of another, whether it is there or not", async () => {
      const record = recordObject(n2, { slots: slotsOf(11), podCIDRs: ["10.244.2.0/24"] });
      const says = "the agent of node n1 may write only the record n1, not n2";
      expect(await refused(agent.apply(recordPath("n2"), record), says)).toMatchObject({ status: 403 });
      await refused(agent.create(recordsPath, record), says);
      const generated = { ...record, metadata: { ...record.metadata, name: undefined, generateName: "n1" } };
      expect(["wg-cni-own-record", "wg-cni-others-nodes"]).toContain(
        deniedBy(await refused(agent.create(recordsPath, generated))),
      );
      await (await agentOf(server, "n2")).apply(recordPath("n2"), record);
      await refused(agent.apply(recordPath("n2"), record), says);
      await refused(agent.patch(recordPath("n2"), { spec: { podCIDRs: [] } }), says);
      await refused(applyStatus(agent, "n2", 0), says);
      expect((await server.admin.get(recordPath("n2")))["spec"]).toMatchObject({
        podCIDRs: ["10.244.2.0/24"],
      });
    });

    const network = "wg-cni-own-network";
    // If several policies refuse a request, the server names any one of them.
    const foreign: Record<string, [spec: object, by: readonly string[]]> = {
      "a pod CIDR of no node": [{ podCIDRs: ["10.244.1.0/24", "10.244.9.0/24"] }, [network]],
      "a pod CIDR of no node, of the other family": [{ podCIDRs: ["fd00:10:244::/48"] }, [network]],
      "an endpoint of no node": [{ endpoints: ["192.0.2.1", "203.0.113.9"] }, [network]],
      "an address of no node": [{ nodeIPs: ["192.0.2.1", "203.0.113.9"] }, [network]],
      "another's endpoint": [{ endpoints: ["192.0.2.1", "192.0.2.2"] }, [network]],
      "another's pod CIDR": [
        { podCIDRs: ["10.244.1.0/24", "10.244.2.0/24"] },
        [network, "wg-cni-own-claims", "wg-cni-others-nodes"],
      ],
      "a network with another's pod CIDR": [
        { podCIDRs: ["10.244.0.0/16"] },
        [network, "wg-cni-own-claims", "wg-cni-others-nodes"],
      ],
      "another's address": [{ nodeIPs: ["192.0.2.2", "203.0.113.9"] }, [network, "wg-cni-others-nodes"]],
    };
    test.each(Object.entries(foreign))("does not claim %s", async (_, [spec, by]) => {
      const answer = await refused(write(spec));
      expect(answer).toMatchObject({ status: 403, reason: "Forbidden" });
      expect(by).toContain(deniedBy(answer));
    });

    const { name, uid } = { name: "n1", uid: "00000000-0000-0000-0000-000000000000" };
    const owner = { apiVersion: "v1", kind: "Node", name, uid };
    const present = "the owner of the record must be the present Node n1, whose UID is";
    // Both policies refuse these, and the server says either's words.
    const unowned = ["the record n1 must be owned by Node n1 and nothing else", present];
    const metadata: Record<string, [metadata: () => object, says: string | readonly string[]]> = {
      "without an owner": [() => ({ ownerReferences: [] }), unowned],
      "owned by another Node": [
        () => ({ ownerReferences: [{ ...owner, name: "n2", uid: n2.metadata.uid }] }),
        unowned,
      ],
      "owned by something else": [() => ({ ownerReferences: [{ ...owner, kind: "Pod" }] }), unowned],
      "with two owners": [
        () => ({
          ownerReferences: [
            { ...owner, uid: n1.metadata.uid },
            { ...owner, uid: n2.metadata.uid },
          ],
        }),
        unowned,
      ],
      "owned by an earlier Node of that name": [() => ({ ownerReferences: [owner] }), present],
      "with a finalizer": [
        () => ({ finalizers: ["example.com/stay"] }),
        "no labels, annotations or finalizers",
      ],
      "with a label": [() => ({ labels: { a: "b" } }), "no labels, annotations or finalizers"],
      "with an annotation": [() => ({ annotations: { a: "b" } }), "no labels, annotations or finalizers"],
    };
    test.each(Object.entries(metadata))("does not write its record %s", async (_, [make, says]) => {
      await refused(write({}, make()), says);
    });

    test("keeps the labels that an administrator has set", async () => {
      await server.admin.patch(recordPath("n1"), { metadata: { labels: { team: "network" } } });
      const port = { slots: [{ ...slots[0], port: 4500 }, slots[1]] };
      expect(await write(port)).toMatchObject({ metadata: { labels: { team: "network" } }, spec: port });
      await refused(agent.patch(recordPath("n1"), { metadata: { labels: null } }), "no labels");
    });

    test("cannot change its record's metadata by way of the status", async () => {
      const before = await server.admin.get(recordPath("n1"));
      const change = {
        metadata: { ownerReferences: [], finalizers: ["example.com/stay"] },
        status: { peers: 7 },
      };
      const after = await agent.patch(`${recordPath("n1")}/status`, change);
      expect(after["status"].peers).toBe(7);
      const { ownerReferences, finalizers } = after.metadata;
      expect({ ownerReferences, finalizers }).toEqual({
        ownerReferences: before.metadata["ownerReferences"],
        finalizers: undefined,
      });
    });
  });

  describe("a token that does not say the node", () => {
    const says = "the token does not say which node it is for";

    test("is refused", async () => {
      const unbound = server.client(await requestToken(server.admin, {}));
      expect(await refused(write({}, {}, unbound), says)).toMatchObject({ status: 403 });
      await refused(applyStatus(unbound, "n1", 0), says);
    });

    test("of a pod that is gone has no owner", async () => {
      const token = await mintToken(server.admin, "n1");
      const gone = server.client(token);
      await write({}, {}, gone);
      await server.admin.remove(`/api/v1/namespaces/kube-system/pods/${podOf(token)}?gracePeriodSeconds=0`);
      const look = async () => (await gone.send("GET", recordsPath)).status === 401;
      // The API server remembers for ten seconds that a token is good.
      await waitUntil(look, { what: "the token being refused once its pod is gone", timeoutMs: 60_000 });
    });
  });

  describe("a Node", () => {
    test("without pod CIDRs is no measure of them, but of the addresses", async () => {
      const n3 = await createNode(server.admin, "n3", { internalIPs: ["192.0.2.3"] });
      const third = await agentOf(server, "n3");
      const spec = {
        ...{ slots: slotsOf(21), endpoints: ["192.0.2.3"], nodeIPs: ["192.0.2.3"] },
        podCIDRs: ["198.18.3.7/32"],
      };
      expect(await third.apply(recordPath("n3"), recordObject(n3, spec))).toMatchObject({ spec });
      const other = recordObject(n3, { ...spec, nodeIPs: ["192.0.2.1"] });
      const says = ["nodeIPs: 192.0.2.1 is no", "of Node n1"];
      await unaccepted(() => third.apply(recordPath("n3"), other, { dryRun: true }), says);
    });

    test("whose addresses change is obeyed with the new ones", async () => {
      const status = { addresses: [{ type: "InternalIP", address: "192.0.2.33" }] };
      await server.admin.patch(`${nodesPath}/n3/status`, { status });
      const [n3, third] = [await server.admin.get(`${nodesPath}/n3`), await agentOf(server, "n3")];
      const spec = { slots: slotsOf(21), endpoints: ["192.0.2.33"], nodeIPs: ["192.0.2.33"] };
      const apply = () => third.apply(recordPath("n3"), recordObject(n3, spec)).catch(() => undefined);
      await waitUntil(apply, { what: "the policy knowing n3's new address" });
    });

    test("among a hundred is found", async () => {
      const made = Array.from({ length: 100 }, (_, i) => `m${i}`);
      for (const name of made)
        await createNode(server.admin, name, { podCIDRs: [`10.245.${name.slice(1)}.0/24`] });
      expect(await write({})).toMatchObject({ spec: good });
      const all = { podCIDRs: made.map((name) => `10.245.${name.slice(1)}.0/24`) };
      await refused(write(all), ["podCIDRs: 10.245.0.0/24, 10.245.1.0/24", "pod CIDR of Node m"]);
    });
  });

  describe("an administrator", () => {
    test("writes any record", async () => {
      const foreign = recordObject(n2, { ...good, podCIDRs: ["10.99.0.0/16"] });
      await server.admin.apply(recordPath("n2"), foreign, { manager: "kubectl" });
    });

    test("lets a node have other endpoints and pod CIDRs, and only that node", async () => {
      const spec = { endpoints: ["203.0.113.1"], podCIDRs: ["10.98.1.0/24"] };
      await refused(write(spec), "see claim-endpoints in the policy");
      await grant(server.admin, "n1", ["claim-endpoints", "claim-pod-cidrs"]);
      const apply = () => write(spec).catch(() => undefined);
      expect(await waitUntil(apply, { what: "the grant being obeyed" })).toMatchObject({ spec });
      await refused(write({ ...spec, nodeIPs: ["203.0.113.1"] }), "nodeIPs: 203.0.113.1");
      const second = await agentOf(server, "n2");
      const record = recordObject(n2, {
        ...{ slots: slotsOf(11), endpoints: [], nodeIPs: [], podCIDRs: ["10.99.1.0/24"] },
      });
      await refused(second.apply(recordPath("n2"), record), "see claim-pod-cidrs");
    });
  });

  test("agents may do what they need and nothing else", async () => {
    const allowed: string[] = [];
    for (const [group, resource] of resources)
      for (const verb of verbs)
        if (await may(agent, verb, group, resource)) allowed.push(`${verb} ${resource}`);
    expect(allowed).toEqual([
      ...["list", "watch", "create", "patch"].map((verb) => `${verb} wireguardnodes`),
      "patch wireguardnodes/status",
      ...["list", "watch"].map((verb) => `${verb} wireguardmeshes`),
      ...["list", "watch"].map((verb) => `${verb} servicecidrs`),
      ...["list", "watch"].map((verb) => `${verb} nodes`),
      ...["create", "patch"].map((verb) => `${verb} events`),
    ]);
  });

  describe("with the controllers", () => {
    beforeAll(() => server.controllers.start());

    test("the policies' expressions have no doubtful types", async () => {
      for (const name of policies) {
        const path = `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/${name}`;
        const checked = async () => (await server.admin.get(path))["status"]?.typeChecking;
        expect(
          await waitUntil(checked, { what: `the types of ${name} being checked`, timeoutMs: 60_000 }),
        ).toEqual({});
      }
    });

    test("a record goes with its Node", async () => {
      await server.admin.remove(`${nodesPath}/n2`);
      const isGone = async () => (await server.admin.find(recordPath("n2"))) === undefined;
      await waitUntil(isGone, { what: "the record of n2 going with its Node", timeoutMs: 60_000 });
      expect(await server.admin.find(recordPath("n1"))).toBeDefined();
    });

    test("what is written for a Node that is gone is collected too", async () => {
      const agentOfThird = await agentOf(server, "n3");
      const n3 = await server.admin.get(`${nodesPath}/n3`);
      await server.admin.remove(`${nodesPath}/n3`);
      const { metadata } = await agentOfThird.apply(
        recordPath("n3"),
        recordObject(n3, { slots: slotsOf(21) }),
      );
      const isGone = async () => (await server.admin.find(recordPath("n3")))?.metadata.uid !== metadata.uid;
      await waitUntil(isGone, { what: "the record of n3, whose Node is gone", timeoutMs: 60_000 });
    });
  });
});

function applyStatus(by: KubeClient, name: string, encryptedPeers: number): Promise<KubeObject> {
  const change = {
    ...{ apiVersion: "wg-cni.dev/v1alpha1", kind: "WireGuardNode", metadata: { name } },
    status: { encryptedPeers },
  };
  return by.apply(`${recordPath(name)}/status`, change);
}

/** The pod that a token is bound to. */
function podOf(token: string): string {
  const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
  return JSON.parse(payload)["kubernetes.io"].pod.name;
}

/** As the policy's comment says it. */
async function grant(admin: KubeClient, node: string, allowed: readonly string[]): Promise<void> {
  const api = "rbac.authorization.k8s.io";
  const rules = [
    { apiGroups: ["wg-cni.dev"], resources: ["wireguardnodes"], resourceNames: [node], verbs: allowed },
  ];
  const metadata = { name: "wg-cni-claims" };
  const kind = { apiVersion: `${api}/v1`, metadata };
  await admin.create(`/apis/${api}/v1/clusterroles`, { ...kind, kind: "ClusterRole", rules });
  await admin.create(`/apis/${api}/v1/clusterrolebindings`, {
    ...{ ...kind, kind: "ClusterRoleBinding" },
    roleRef: { apiGroup: api, kind: "ClusterRole", name: metadata.name },
    subjects: [{ kind: "ServiceAccount", name: "wg-cni", namespace: "kube-system" }],
  });
}

const policies = [
  ...["wg-cni-own-record", "wg-cni-own-network", "wg-cni-own-claims"],
  ...["wg-cni-rollout", "wg-cni-rollout-start"],
];
const verbs = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
const resources = [
  ["wg-cni.dev", "wireguardnodes"],
  ["wg-cni.dev", "wireguardnodes/status"],
  ["wg-cni.dev", "wireguardmeshes"],
  ["networking.k8s.io", "servicecidrs"],
  ["", "nodes"],
  ["", "nodes/status"],
  ["events.k8s.io", "events"],
  ["", "pods"],
  ["", "secrets"],
  ["", "configmaps"],
  ["", "serviceaccounts"],
  ["apiextensions.k8s.io", "customresourcedefinitions"],
  ["admissionregistration.k8s.io", "validatingadmissionpolicies"],
] as const;

async function may(by: KubeClient, verb: string, group: string, path: string): Promise<boolean> {
  const [resource, subresource] = path.split("/");
  const resourceAttributes = { verb, group, resource, subresource, namespace: "kube-system" };
  const api = "authorization.k8s.io/v1";
  const review = { apiVersion: api, kind: "SelfSubjectAccessReview", spec: { resourceAttributes } };
  return (await by.create(`/apis/${api}/selfsubjectaccessreviews`, review))["status"].allowed;
}
