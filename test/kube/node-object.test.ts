// A Node object as an identity: every odd Node has a defined outcome, in words.
import { describe, expect, test } from "bun:test";
import {
  formatTaintRemoval,
  type NodeObject,
  planIdentity,
  readNodeObject,
  startupTaint,
} from "../../src/kube/node-object.ts";
import { type NodeChange, nodeOf } from "./objects.ts";

const facts = (change: NodeChange = {}) => readNodeObject(nodeOf("node-1", change)) as NodeObject;
const plan = (
  change: NodeChange = {},
  before: readonly string[] = [],
  podAddresses: "node" | "pods" = "node",
) => planIdentity(facts(change), before, podAddresses);
const v4 = ["InternalIP", "192.0.2.1"] as const;
const v6 = ["InternalIP", "2001:db8::1"] as const;

test("a plain Node", () => {
  expect(facts()).toMatchObject({ name: "node-1", uid: "uid-node-1", warnings: [] });
  expect(plan()).toEqual({
    identity: {
      name: "node-1",
      endpoints: ["192.0.2.1"],
      nodeIPs: ["192.0.2.1"],
      podCIDRs: ["10.244.1.0/24"],
    },
    warnings: [],
  });
});

test("dual stack is the same, whichever family the cluster has first", () => {
  const cidrs = ["10.244.1.0/24", "fd00:10:244:1::/64"];
  const one = plan({ addresses: [v4, v6], spec: { podCIDR: cidrs[0], podCIDRs: cidrs } });
  const other = plan({ addresses: [v6, v4], spec: { podCIDR: cidrs[1], podCIDRs: cidrs.toReversed() } });
  expect(one.identity).toMatchObject({
    endpoints: ["192.0.2.1", "2001:db8::1"],
    nodeIPs: ["192.0.2.1", "2001:db8::1"],
  });
  expect(other.identity?.endpoints).toEqual(one.identity!.endpoints);
  expect(new Set(other.identity?.podCIDRs)).toEqual(new Set(cidrs));
  expect([...one.warnings, ...other.warnings]).toEqual([]);
});

describe("addresses", () => {
  test("several of a family stay in the Node's order, each once", () => {
    const addresses = [["InternalIP", "192.0.2.9"], v6, v4, ["InternalIP", "192.0.2.9"]] as const;
    expect(plan({ addresses }).identity?.endpoints).toEqual(["192.0.2.9", "192.0.2.1", "2001:db8::1"]);
  });

  test("other kinds of addresses are not the node's underlay", () => {
    const addresses = [
      ["Hostname", "node-1"],
      ["ExternalIP", "203.0.113.7"],
      v4,
      ["InternalDNS", "n.example"],
    ] as const;
    expect(plan({ addresses })).toMatchObject({ identity: { nodeIPs: ["192.0.2.1"] }, warnings: [] });
  });

  test("one that no node can reach is left out, and reported", () => {
    const { identity, warnings } = plan({
      addresses: [["InternalIP", "127.0.0.1"], v4, ["InternalIP", "x"]],
    });
    expect(identity?.endpoints).toEqual(["192.0.2.1"]);
    expect(warnings).toEqual([
      "InternalIP of Node node-1: 127.0.0.1 is a loopback address; other nodes cannot reach it; it is left out",
      'InternalIP of Node node-1: "x" is not an IP address; it is left out',
    ]);
  });

  test.each([
    ["none at all", []],
    ["only an external one", [["ExternalIP", "203.0.113.7"]]],
    ["only ones that cannot be used", [["InternalIP", "fe80::1"]]],
  ] as const)("%s gives no identity, and a sentence", (_, addresses) => {
    const { identity, warnings } = plan({ addresses });
    expect(identity).toBeUndefined();
    expect(warnings.at(-1)).toStartWith("Node node-1 has no InternalIP");
  });

  test("more than a peer can try are cut off", () => {
    const addresses = Array.from({ length: 40 }, (_, n) => ["InternalIP", `192.0.2.${n + 1}`] as const);
    expect(plan({ addresses }).identity?.endpoints).toHaveLength(16);
  });
});

describe("pod CIDRs", () => {
  test("those that have changed are exchanged", () => {
    expect(plan({}, ["10.244.9.0/24"])).toMatchObject({
      identity: { podCIDRs: ["10.244.1.0/24"] },
      warnings: [],
    });
  });

  test("a Node of an old cluster has one in another field", () => {
    expect(plan({ spec: { podCIDR: "10.244.7.0/24" } }).identity?.podCIDRs).toEqual(["10.244.7.0/24"]);
  });

  test.each([{ spec: {} }, { spec: { podCIDR: "", podCIDRs: [] } }, { spec: { podCIDRs: null } }])(
    "%j: none leave what was there, and are said",
    (change) => {
      const first = plan(change);
      expect(first.identity?.podCIDRs).toEqual([]);
      expect(first.warnings[0]).toContain("has no pod CIDR (spec.podCIDRs), so its pods are not encrypted");
      const later = plan(change, ["10.244.1.0/24"]);
      expect(later.identity?.podCIDRs).toEqual(["10.244.1.0/24"]);
      expect(later.warnings[0]).toContain("so it stays 10.244.1.0/24");
    },
  );

  test("are the pods' own if the network gives them their addresses", () => {
    for (const spec of [{}, { podCIDRs: ["10.244.1.0/24"] }])
      expect(plan({ spec }, ["10.1.0.4/31"], "pods")).toMatchObject({
        identity: { podCIDRs: ["10.1.0.4/31"] },
        warnings: [],
      });
  });

  test("that cannot be, or overlap, are left out and said", () => {
    const { identity, warnings } = plan({
      spec: { podCIDRs: ["10.0.0.0/16", "0.0.0.0/0", "10.0.1.0/24", 5] },
    });
    expect(identity?.podCIDRs).toEqual(["10.0.0.0/16"]);
    expect(warnings).toHaveLength(3);
    expect(warnings[0]).toContain("0.0.0.0/0 is everything");
    expect(warnings[2]).toContain("10.0.1.0/24 overlaps 10.0.0.0/16 and is left out");
  });
});

test("a pod CIDR that holds the Node's own address is left out and said, whatever was there before", () => {
  const spec = { podCIDRs: ["192.0.2.0/24", "10.244.1.0/24"] };
  const { identity, warnings } = plan({ spec });
  expect([identity?.podCIDRs, warnings]).toEqual([
    ["10.244.1.0/24"],
    [expect.stringContaining("192.0.2.0/24 holds")],
  ]);
  const alone = plan({ spec: { podCIDRs: ["192.0.2.0/24"] } }, ["192.0.2.0/24", "10.9.0.0/24"]);
  expect(alone.identity?.podCIDRs).toEqual(["10.9.0.0/24"]);
});

test("what is no Node is passed over", () => {
  const metadata = [{}, { name: "n" }, { name: "n", uid: "" }];
  for (const json of [null, undefined, 5, "x", {}, ...metadata.map((one) => ({ metadata: one }))])
    expect(readNodeObject(json)).toBeUndefined();
});

test("a Node may have nothing to say", () => {
  const metadata = { name: "n", uid: "u" };
  for (const json of [{ metadata }, { metadata, status: { addresses: [null, 5] }, spec: 7 }])
    expect(readNodeObject(json)).toEqual({
      name: "n",
      uid: "u",
      internalIPs: [],
      podCIDRs: [],
      warnings: [],
    });
});

describe("the start-up taint", () => {
  const startup = { key: startupTaint, effect: "NoSchedule" };
  const other = { key: "example.com/busy", effect: "NoExecute", timeAdded: "2026-01-01T00:00:00Z" };
  const taintsOf = (taints: unknown) => readNodeObject(nodeOf("n1", { spec: { taints } }))?.taints;

  test("is of interest beside all others, and these are not without it", () => {
    expect(taintsOf([other, startup])).toEqual([other, startup]);
    for (const taints of [undefined, [], [other], "none", [null]]) expect(taintsOf(taints)).toBeUndefined();
  });

  test("goes, whatever its effect, and only if the taints are as they were seen", () => {
    const taints = [startup, other, { ...startup, effect: "NoExecute" }];
    expect(formatTaintRemoval(taints)).toEqual([
      { op: "test", path: "/spec/taints", value: taints },
      { op: "replace", path: "/spec/taints", value: [other] },
    ]);
  });
});
