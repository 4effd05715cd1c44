// Bounds of a peer's claims: everything that a hostile node might write into its own record, as a table,
// with this node's knowledge of the network.
import { describe, expect, test } from "bun:test";
import { type ClusterHosts, noClusterHosts } from "../../../src/net/cluster-hosts.ts";
import type { NodeRecord } from "../../../src/net/record.ts";
import {
  boundClaims,
  type ClaimBounds,
  claimJudge,
  keepClaimJudge,
} from "../../../src/plan/peers/claim-bounds.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { serviceNetworks } from "../../../src/plan/peers/cluster-hosts.ts";
import { hostLandmarks, knownLandmarks } from "../../../src/plan/peers/landmarks.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

const own = {
  nodeIPs: ["10.0.1.5"],
  endpoints: ["10.0.1.5"],
  podCIDRs: ["10.244.1.0/24", "fd00:244:1::/64"],
};
const address = (dev: string, ip: string, length: number) => ({
  ...{ dev, ip, length, scope: "global", noPrefixRoute: false, noDad: false },
});
const gateway = (dst: string, via: string) => ({ dst, via, dev: "eth0" });
const host = {
  links: [
    { name: "lo", kind: "" },
    { name: "eth0", kind: "" },
    { name: "cni0", kind: "bridge" },
    { name: "docker0", kind: "bridge" },
  ],
  addresses: [
    address("eth0", "10.0.1.5", 24),
    address("eth0", "2001:db8::5", 64),
    address("cni0", "10.244.1.1", 24),
    address("docker0", "172.17.0.1", 16),
    address("wg-cni-a", "10.0.1.5", 32),
  ],
  gateways: [
    gateway("0.0.0.0/0", "10.0.1.1"),
    gateway("10.244.2.0/24", "10.0.1.6"),
    gateway("::/0", "2001:db8::1"),
  ],
  uplinks: ["eth0"],
  ownDevices: ["wg-cni-a", "wg-cni-b"],
  resolvers: ["10.9.9.53", "8.8.8.8", "2001:db8::53", "127.0.0.53"],
} as Parameters<typeof hostLandmarks>[0];
const clusterHosts = {
  apiServers: ["10.96.0.1", "172.30.0.7", "2001:db8:7::7"],
  serviceCIDRs: ["10.96.0.0/16", "fd00:96::/108"],
  apiService: "10.96.0.1",
};

function boundsOf(settings: Record<string, unknown>, hosts: ClusterHosts = clusterHosts): ClaimBounds {
  return {
    ...{ settings: parseSettings(settings), podCIDRs: own.podCIDRs },
    landmarks: [
      ...knownLandmarks({
        node: own,
        peers: [],
        settings: { controlPlane: [] },
        apiServers: hosts.apiServers,
      }),
      ...hostLandmarks(host),
    ],
    reserved: serviceNetworks(hosts, own.nodeIPs),
  };
}

const record = (change: Partial<NodeRecord>): NodeRecord => ({
  ...{ name: "n3", slots: [], endpoints: ["10.0.1.7"], nodeIPs: ["10.0.1.7"], podCIDRs: ["10.244.3.0/24"] },
  ...change,
});
const isTyped = true;

/** [what, claim, how it counts if nothing is declared, if clusterCIDRs are, and if the operator has imported it] */
const pods: readonly (readonly [string, string, boolean, boolean, boolean])[] = [
  ["the pods of a node", "10.244.9.0/24", true, true, true],
  ["of the other family", "fd00:244:9::/64", true, true, true],
  ["a private network that is not the cluster's", "10.50.0.0/24", true, false, true],
  ["a ULA network that is not the cluster's", "fd99::/64", true, false, true],
  ["a part of the Internet", "8.0.0.0/8", false, false, false],
  ["a part of the Internet that holds no landmark", "93.184.216.0/24", false, false, true],
  ["half of that", "93.184.216.0/25", false, false, true],
  ["one address of it", "93.184.216.34/32", false, false, true],
  ["a part of the IPv6 Internet", "2606:4700::/32", false, false, true],
  ["the API server alone", "172.30.0.7/32", false, false, false],
  ["a network with the API server", "172.30.0.0/24", false, false, false],
  ["the narrowest network with the API server", "172.30.0.6/31", false, false, false],
  ["the API server, IPv6", "2001:db8:7::7/128", false, false, false],
  ["the services", "10.96.0.0/16", false, false, false],
  ["half of the services", "10.96.128.0/17", false, false, false],
  ["one service", "10.96.0.10/32", false, false, false],
  ["more than the services", "10.96.0.0/12", false, false, false],
  ["the services, IPv6", "fd00:96::a/128", false, false, false],
  ["the gateway", "10.0.1.1/32", false, false, false],
  ["a network with the gateway", "10.0.1.0/30", false, false, false],
  ["the gateway, IPv6", "2001:db8::1/128", false, false, false],
  ["a node that is a next hop", "10.0.1.6/32", false, false, false],
  ["a resolver", "10.9.9.53/32", false, false, false],
  ["a resolver, IPv6", "2001:db8::53/128", false, false, false],
  ["a resolver on the Internet", "8.8.8.8/32", false, false, false],
  ["this node", "10.0.1.5/32", false, false, false],
  ["this node's bridge of pods", "10.244.1.1/32", false, false, false],
  ["another bridge of this node", "172.17.0.1/32", false, false, false],
  ["a network of pods in which another bridge of this node is", "172.17.0.0/16", true, false, true],
  ["the nodes' network", "10.0.0.0/16", false, false, false],
  ["Azure's wire server", "168.63.129.16/32", false, false, false],
  ["a network with Azure's wire server", "168.63.0.0/16", false, false, false],
  ["Alibaba's metadata", "100.100.100.200/32", false, false, false],
  ["a network with Alibaba's metadata", "100.100.0.0/16", false, false, false],
  ["AWS's metadata, IPv6", "fd00:ec2::254/128", false, false, false],
  ["link-local", "169.254.169.254/32", false, false, false],
  ["link-local, IPv6", "fe80::1/128", false, false, false],
  ["IPv4 as IPv6", "::ffff:8.8.8.8/128", false, false, false],
  ["a network with IPv4 as IPv6", "::fffe:0:0/95", false, false, false],
  ["IPv4 behind a translator", "64:ff9b::808:808/128", false, false, false],
  ["the claimant itself and its neighbours", "10.0.1.6/31", false, false, false],
  ["a pod with an address of the nodes' network", "10.0.1.200/32", true, false, true],
];

describe("a pod CIDR", () => {
  const counts = (claim: string, settings: Record<string, unknown>, typed = false) =>
    claimJudge(boundsOf(settings))(record({ podCIDRs: [claim] }), typed).refusals.length === 0;

  test.each([...pods])("%s: %s", (_what, claim, open, declared, typed) => {
    const clusterCIDRs = ["10.244.0.0/16", "fd00:244::/32"];
    expect([counts(claim, {}), counts(claim, { clusterCIDRs }), counts(claim, {}, isTyped)]).toEqual([
      open,
      declared,
      typed,
    ]);
  });

  test("of a family that no cluster CIDR has is judged as if none were declared", () => {
    const settings = { clusterCIDRs: ["10.244.0.0/16"] };
    expect([counts("fd99::/64", settings), counts("2606:4700::/32", settings)]).toEqual([true, false]);
  });

  test("with public addresses counts near this node's own", () => {
    const bounds = { ...boundsOf({}), podCIDRs: ["130.89.16.0/24", "2a05:d018:1:2::/64"] };
    const judge = (cidr: string) => claimJudge(bounds)(record({ podCIDRs: [cidr] }), false).refusals.length;
    expect(["130.89.99.0/24", "2a05:d018:1:ff::/64"].map(judge)).toEqual([0, 0]);
    expect(["130.90.0.0/24", "2a05:d018:2::/64"].map(judge)).toEqual([1, 1]);
  });

  test("many narrow ones that together cover the services: each is refused, and nothing else of the record", () => {
    const parts = Array.from({ length: 256 }, (_, i) => `10.96.${i}.0/24`);
    const bounded = claimJudge(boundsOf({}))(record({ podCIDRs: [...parts, "10.244.3.0/24"] }), false);
    expect([bounded.refusals.length, bounded.record.podCIDRs]).toEqual([256, ["10.244.3.0/24"]]);
  });

  test("without the API's word, the services nearest to its own are known", () => {
    const hosts = { ...noClusterHosts, apiServers: ["10.96.0.1"], apiService: "10.96.0.1" };
    const judge = claimJudge(boundsOf({}, hosts));
    const refused = (cidr: string) => judge(record({ podCIDRs: [cidr] }), false).refusals.length;
    expect(["10.96.0.10/32", "10.96.0.0/12", "10.96.7.1/32"].map(refused)).toEqual([1, 1, 0]);
  });

  test("an API server that is reached at a host's address makes no services of the nodes beside it", () => {
    const apiService = "10.0.1.250";
    const known = { ...noClusterHosts, apiServers: [apiService], apiService };
    for (const hosts of [known, { ...known, serviceCIDRs: ["10.96.0.0/16"] }]) {
      const judge = claimJudge(boundsOf({}, hosts));
      expect(judge(record({ nodeIPs: ["10.0.1.7"] }), false).refusals).toEqual([]);
    }
  });
});

/** [what, claim, how it counts if nothing is declared, if nodeCIDRs are, and if the operator has imported it] */
const hosts: readonly (readonly [string, string, boolean, boolean, boolean])[] = [
  ["a node", "10.0.1.9", true, true, true],
  ["a node elsewhere", "10.7.0.9", true, false, true],
  ["on the Internet", "93.184.216.34", true, false, true],
  ["an address that is declared alone", "203.0.113.9", true, true, true],
  ["this node", "10.0.1.5", false, false, false],
  ["a bridge of this node", "172.17.0.1", false, false, false],
  ["a service", "10.96.0.10", false, false, false],
  ["a service, IPv6", "fd00:96::a", false, false, false],
  ["Azure's wire server", "168.63.129.16", false, false, false],
  ["Alibaba's metadata", "100.100.100.200", false, false, false],
  ["AWS's metadata, IPv6", "fd00:ec2::254", false, false, false],
  ["IPv4 behind a translator", "64:ff9b::808:808", false, false, false],
  // A handshake decides about places where a node may be: test/plan/peers/node-ip-proof.test.ts.
  ["the gateway", "10.0.1.1", true, true, true],
  ["a resolver", "10.9.9.53", true, false, true],
];

describe("a node IP", () => {
  test.each([...hosts])("%s: %s", (_what, ip, open, declared, typed) => {
    const counts = (settings: Record<string, unknown>, byOperator = false) =>
      claimJudge(boundsOf(settings))(record({ nodeIPs: [ip], endpoints: [] }), byOperator).refusals.length ===
      0;
    const nodeCIDRs = ["10.0.0.0/16", "203.0.113.9/32", "2001:db8::/64"];
    expect([counts({}), counts({ nodeCIDRs }), counts({}, isTyped)]).toEqual([open, declared, typed]);
  });
});

test("a claim that does not count keeps nothing from another peer, however early it was made", () => {
  const early = record({ podCIDRs: ["10.0.0.0/16"] });
  const late = record({
    name: "n2",
    nodeIPs: ["10.0.1.6"],
    endpoints: ["10.0.1.6"],
    podCIDRs: ["10.0.7.0/24"],
  });
  const peer = (one: NodeRecord, seq: number) => ({
    ...{ record: one, isTyped: false },
    claimedAt: () => new Map([...one.podCIDRs, "10.0.1.6/32", "10.0.1.7/32"].map((claim) => [claim, seq])),
  });
  const { peers, refusals } = boundClaims([peer(early, 1), peer(late, 2)], claimJudge(boundsOf({})));
  const owned = resolveClaims({ name: "n1", publicKeys: [], ...own }, peers).peers;
  expect(refusals.map(({ claim }) => claim)).toEqual(["10.0.0.0/16"]);
  expect(owned.map(({ nodeIPs, podCIDRs }) => [nodeIPs, podCIDRs])).toEqual([
    [["10.0.1.6"], ["10.0.7.0/24"]],
    [["10.0.1.7"], []],
  ]);
});

test("a record of which all counts is the record itself", () => {
  const whole = record({});
  expect(claimJudge(boundsOf({}))(whole, false).record).toBe(whole);
});

test("a kept judge judges a record once while the bounds are the same, and anew when they are others", () => {
  const judgeOf = keepClaimJudge();
  const claims = record({ podCIDRs: ["10.244.3.0/24", "8.8.8.0/24"] });
  const first = judgeOf(boundsOf({}))(claims, false);
  expect(first).toEqual(claimJudge(boundsOf({}))(claims, false));
  expect(judgeOf(boundsOf({}))(claims, false)).toBe(first);
  // The operator's word about the same record is another question.
  expect(judgeOf(boundsOf({}))(claims, true)).toEqual(claimJudge(boundsOf({}))(claims, true));
  const narrow = { clusterCIDRs: ["10.9.0.0/16"] };
  expect(judgeOf(boundsOf(narrow))(claims, false)).toEqual(claimJudge(boundsOf(narrow))(claims, false));
  expect(judgeOf(boundsOf(narrow))(claims, false)).not.toEqual(first);
});
