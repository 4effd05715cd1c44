// When a node IP counts, as tables: what a hostile record claims before and after the node that has the
// address joins, and what handshakes show.
import { describe, expect, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import type { Landmark } from "../../../src/plan/peers/landmarks.ts";
import type { ClaimingPeer, Ownership } from "../../../src/plan/peers/model.ts";
import {
  findProofs,
  type ProofFacts,
  provenBy,
  refuseUnproven,
  splitNodeIPs,
  weighProvenFirst,
  withoutNodes,
} from "../../../src/plan/peers/node-ip-proof.ts";
import type { SlotObservation } from "../../../src/plan/peers/observation.ts";

const local = { name: "n1", publicKeys: [], nodeIPs: ["198.51.100.1"], podCIDRs: ["10.244.1.0/24"] };
const record = (name: string, nodeIPs: string[], podCIDRs: string[] = []): NodeRecord => ({
  ...{ name, slots: [], endpoints: [], nodeIPs, podCIDRs },
});

interface Situation {
  /** The first has made all its claims first. */
  readonly records: readonly NodeRecord[];
  readonly proofs?: Record<string, readonly string[]>;
  readonly nodeCIDRs?: readonly string[];
  readonly mode?: "permissive" | "strict";
  readonly landmarks?: readonly Landmark[];
  readonly typed?: readonly string[];
}

function own({
  records,
  proofs = {},
  nodeCIDRs = [],
  mode = "permissive",
  landmarks = [],
  typed = [],
}: Situation) {
  const facts: ProofFacts = {
    proofs: new Map(Object.entries(proofs).map(([peer, ips]) => [peer, new Set(ips)])),
    settings: { nodeCIDRs, mode },
    landmarks,
    typed: new Set(typed),
    own: local.nodeIPs.map((ip) => `${ip}/${ip.includes(":") ? 128 : 32}`),
  };
  const isProven = provenBy(facts);
  const peers = records.map((one, i): ClaimingPeer => {
    const claims = [...one.podCIDRs, ...one.nodeIPs.map((ip) => `${ip}/${ip.includes(":") ? 128 : 32}`)];
    return { record: one, claimedAt: () => new Map(claims.map((claim) => [claim, i])) };
  });
  const apart = withoutNodes(peers, facts, isProven);
  const resolved: Ownership = resolveClaims(
    local,
    apart.peers.map((peer) => weighProvenFirst(peer, isProven)),
  );
  const claimed = new Map(records.map(({ name, nodeIPs }) => [name, nodeIPs]));
  const split = splitNodeIPs(resolved.peers, claimed, facts, isProven);
  const owned = Object.fromEntries(
    split.map(({ name, nodeIPs, podCIDRs, earlyIPs = [], barredIPs = [] }) => [
      name,
      { nodeIPs, podCIDRs, earlyIPs, barredIPs },
    ]),
  );
  const unprovenIPs = Object.fromEntries(split.map(({ name, unprovenIPs = [] }) => [name, unprovenIPs]));
  return {
    owned,
    unprovenIPs,
    split,
    refused: [...apart.refusals, ...resolved.refusals].map(({ peer, claim }) => `${peer} ${claim}`),
  };
}

const owns = (
  nodeIPs: string[],
  podCIDRs: string[] = [],
  earlyIPs: string[] = [],
  barredIPs: string[] = [],
) => ({
  ...{ nodeIPs, podCIDRs, earlyIPs, barredIPs },
});

const resolver = (ip: string): Landmark => ({ ip, whose: "a resolver", mayBeNode: true });

describe("a node IP", () => {
  test("that nothing has shown does not count, and stands beside those that do", () => {
    const { owned } = own({
      records: [record("n3", ["192.0.2.3", "8.8.8.8"])],
      proofs: { n3: ["192.0.2.3"] },
    });
    expect(owned["n3"]).toEqual(owns(["192.0.2.3"], [], ["8.8.8.8"]));
  });

  test.each([
    ["before the node that has it joins", ["n3", "n2"]],
    ["after it has joined", ["n2", "n3"]],
  ])("that a hostile record claims %s stays the node's that is there", (_when, order) => {
    const [n2, n3] = [record("n2", ["192.0.2.2"]), record("n3", ["192.0.2.3", "192.0.2.2"])];
    const { owned, refused } = own({
      records: order.map((name) => (name === "n2" ? n2 : n3)),
      proofs: { n2: ["192.0.2.2"], n3: ["192.0.2.3"] },
    });
    expect([owned["n2"], owned["n3"]]).toEqual([owns(["192.0.2.2"]), owns(["192.0.2.3"])]);
    expect(refused).toEqual(["n3 192.0.2.2/32"]);
  });

  test("that two have shown is the first one's", () => {
    const proofs = { n2: ["192.0.2.2"], n3: ["192.0.2.2"] };
    const { refused } = own({ records: [record("n3", ["192.0.2.2"]), record("n2", ["192.0.2.2"])], proofs });
    expect(refused).toEqual(["n2 192.0.2.2/32"]);
  });

  test("that no peer has shown and two claim is taken early from the first one only, and either may show it", () => {
    const { owned, unprovenIPs } = own({
      records: [record("n3", ["192.0.2.2"]), record("n2", ["192.0.2.2"])],
    });
    expect([owned["n3"]?.earlyIPs, owned["n2"]?.earlyIPs]).toEqual([["192.0.2.2"], []]);
    expect([unprovenIPs["n3"], unprovenIPs["n2"]]).toEqual([["192.0.2.2"], ["192.0.2.2"]]);
  });

  test("that was another node's is refused to pods until it is shown", () => {
    const records = [record("n2", ["192.0.2.3"]), record("n3", ["192.0.2.2"])];
    const { owned } = own({ records, proofs: { n2: ["192.0.2.2"], n3: ["192.0.2.3"] } });
    expect(owned["n2"]).toEqual(owns([], [], ["192.0.2.3"], ["192.0.2.3"]));
  });

  test.each([
    ["named alone", ["203.0.113.9/32"], [], true],
    ["named alone, IPv6", ["2001:db8::9/128"], [], false],
    ["only in a network that is named", ["203.0.113.0/24"], [], false],
    ["named alone, and a resolver", ["203.0.113.9/32"], ["203.0.113.9"], false],
  ])("that is %s", (_what, nodeCIDRs, landmarks, counts) => {
    const { owned } = own({
      records: [record("n3", ["203.0.113.9"])],
      nodeCIDRs,
      landmarks: landmarks.map(resolver),
    });
    expect(owned["n3"]?.nodeIPs).toEqual(counts ? ["203.0.113.9"] : []);
  });

  test.each([
    ["strict", ["203.0.113.0/24"], ["203.0.113.9"]],
    ["strict", [], []],
    ["permissive", ["203.0.113.0/24"], []],
  ] as const)("in mode %s with node CIDRs %p is refused to pods: %p", (mode, nodeCIDRs, barred) => {
    const { owned } = own({ records: [record("n3", ["203.0.113.9"])], nodeCIDRs, mode });
    expect(owned["n3"]?.barredIPs).toEqual([...barred]);
  });

  test.each([
    ["private", "10.9.8.7", [], true],
    ["near this node's own", "198.51.7.7", [], true],
    ["of the Internet", "8.8.8.8", [], false],
    ["of the Internet, IPv6", "2001:4860::8888", [], false],
    ["a resolver's", "10.9.9.53", ["10.9.9.53"], false],
  ])("that is %s: whether the peer may send from it once its gate is open", (_what, ip, landmarks, may) => {
    const { owned, split } = own({ records: [record("n3", [ip])], landmarks: landmarks.map(resolver) });
    expect(owned["n3"]?.nodeIPs).toEqual([]);
    expect(split[0]?.sourceIPs).toEqual(may ? [ip] : []);
  });

  const nextHop = (towards: string) => ({
    whose: `the gateway of ${towards}`,
    towards,
    mayBeNode: true as const,
  });
  test.each([
    ["the peer's pods", [nextHop("10.9.7.0/24")], true],
    ["a part of the peer's pods", [nextHop("10.9.7.64/26"), nextHop("10.9.7.0/26")], true],
    ["another node's pods", [nextHop("10.9.8.0/24")], false],
    ["more than the peer's pods", [nextHop("10.9.0.0/16")], false],
    ["the peer's pods and everything", [nextHop("10.9.7.0/24"), nextHop("0.0.0.0/0")], false],
    ["the peer's pods, and is a resolver", [nextHop("10.9.7.0/24"), { whose: "a resolver" }], false],
  ])("that is the next hop of a route to %s: whether the peer may send from it", (_what, hops, may) => {
    const ip = "10.0.0.3";
    const landmarks = hops.map((hop) => ({ ip, ...hop }));
    const { split } = own({ records: [record("n3", [ip], ["10.9.7.0/24"])], landmarks });
    expect(split[0]?.sourceIPs).toEqual(may ? [ip] : []);
  });

  test("counts as the operator has imported it", () => {
    const { owned } = own({ records: [record("n3", ["203.0.113.9"])], typed: ["n3"] });
    expect(owned["n3"]).toEqual(owns(["203.0.113.9"]));
  });
});

describe("another node's address in a pod CIDR", () => {
  const n2 = record("n2", ["192.0.2.2", "2001:db8::2"], ["10.244.2.0/24"]);
  const proofs = { n2: ["192.0.2.2", "2001:db8::2"] };

  test.each([
    ["alone", ["192.0.2.2/32"], []],
    ["alone, IPv6", ["2001:db8::2/128"], []],
    ["in the narrowest network", ["192.0.2.2/31"], ["192.0.2.3/32"]],
    ["beside others", ["192.0.2.0/30", "10.50.0.0/24"], ["192.0.2.0/31", "192.0.2.3/32", "10.50.0.0/24"]],
    ["not at all", ["10.50.0.0/24"], ["10.50.0.0/24"]],
  ])("%s: it is taken out of the older claim", (_what, claimed, left) => {
    const { owned, refused } = own({ records: [record("n3", [], claimed), n2], proofs });
    expect([...(owned["n3"]?.podCIDRs ?? [])].sort()).toEqual([...left].sort());
    expect(owned["n2"]).toEqual(owns(["192.0.2.2", "2001:db8::2"], ["10.244.2.0/24"]));
    expect(refused.length).toBe(claimed.length === left.length && claimed[0] === left[0] ? 0 : 1);
  });

  test("by the score: all of the CIDR is refused", () => {
    const many = Array.from({ length: 20 }, (_, i) => `10.9.0.${i}`);
    const { owned } = own({
      records: [record("n3", [], ["10.9.0.0/16"]), record("n2", many)],
      proofs: { n2: many },
    });
    expect([owned["n3"]?.podCIDRs, owned["n2"]?.nodeIPs.length]).toEqual([[], 20]);
  });

  test("the reverse: a pod's address as a node IP is its node's, shown or not before the claim of the pods", () => {
    const pods = record("n2", ["192.0.2.2"], ["10.244.2.0/24"]);
    const thief = record("n3", ["192.0.2.3", "10.244.2.9"]);
    const { owned } = own({ records: [thief, pods], proofs: { n2: ["192.0.2.2"], n3: ["192.0.2.3"] } });
    expect([owned["n2"]?.podCIDRs, owned["n3"]]).toEqual([["10.244.2.0/24"], owns(["192.0.2.3"])]);
  });
});

test("a claim that nothing has shown is named once the gate is open", () => {
  const peers = [{ ...record("n3", ["192.0.2.3"]), earlyIPs: ["8.8.8.8", "2001:db8::8"] }];
  expect(refuseUnproven(peers, () => true).map(({ claim }) => claim)).toEqual([
    "8.8.8.8/32",
    "2001:db8::8/128",
  ]);
  expect(refuseUnproven(peers, () => false)).toEqual([]);
});

describe("a handshake", () => {
  const seen = (handshakeFrom: string, lastHandshakeMs = 5000): SlotObservation => ({
    ...{ publicKey: "K", ownKey: "O", rxBytes: 0, txBytes: 0, lastHandshakeMs, handshakeFrom },
  });
  const never = () => false;
  test.each([
    ["from the address", { a: seen("192.0.2.3") }, never, ["192.0.2.3"]],
    ["on the other slot", { b: seen("192.0.2.3") }, never, ["192.0.2.3"]],
    ["from two addresses", { a: seen("192.0.2.3"), b: seen("8.8.8.8") }, never, ["192.0.2.3", "8.8.8.8"]],
    ["from elsewhere", { a: seen("192.0.2.7") }, never, []],
    ["that never was", { a: seen("192.0.2.3", 0) }, never, []],
    ["after which this node has set the endpoint", { a: seen("192.0.2.3") }, () => true, []],
  ])("%s", (_what, observation, isOurs, shown) => {
    expect(findProofs(["192.0.2.3", "8.8.8.8"], observation, isOurs)).toEqual(shown);
  });
});
