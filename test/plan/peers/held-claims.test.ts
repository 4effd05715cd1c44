// Claims that a peer keeps while its record is contested.
import { expect, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import { holdClaims } from "../../../src/plan/peers/held-claims.ts";

const own = { nodeIPs: ["192.0.2.1"], podCIDRs: ["10.1.0.0/24"] };
const peer = (name: string, nodeIPs: string[], podCIDRs: string[]): NodeRecord => ({
  ...{ name, slots: [], endpoints: [], nodeIPs, podCIDRs },
});
const had = peer("n2", ["192.0.2.2"], ["10.2.0.0/24"]);
const n3 = peer("n3", ["192.0.2.3"], ["10.3.0.0/24"]);
const refused = (claim: string) => ({ peer: "n2", claim, owner: "n3", reason: "" });

/** [what, what node 2 owns now, refusals, what others own, what it keeps] */
const cases: [string, NodeRecord, string[], NodeRecord, [string[], string[]]][] = [
  [
    "its new claims are another's",
    peer("n2", [], []),
    ["192.0.2.3/32", "10.3.0.0/24"],
    n3,
    [["192.0.2.2"], ["10.2.0.0/24"]],
  ],
  ["nothing is refused: it has given them up", peer("n2", ["192.0.2.9"], []), [], n3, [["192.0.2.9"], []]],
  ["what is refused it had claimed before", peer("n2", [], []), ["192.0.2.2/32"], n3, [[], []]],
  ["a key is refused", peer("n2", [], []), ["AAA/AAA="], n3, [[], []]],
  ["an endpoint is refused", peer("n2", [], []), ["192.0.2.3"], n3, [[], []]],
  [
    "another has its address by now",
    peer("n2", [], []),
    ["192.0.2.3/32"],
    peer("n3", ["192.0.2.3", "192.0.2.2"], []),
    [[], ["10.2.0.0/24"]],
  ],
  [
    "another has a part of its CIDR",
    peer("n2", [], []),
    ["192.0.2.3/32"],
    peer("n3", ["10.2.0.7"], []),
    [["192.0.2.2"], []],
  ],
  [
    "a part of its CIDR is its own still",
    peer("n2", [], ["10.2.0.0/25"]),
    ["192.0.2.3/32"],
    n3,
    [["192.0.2.2"], ["10.2.0.0/25"]],
  ],
];

test.each(cases)("%s", (_what, now, claims, other, [nodeIPs, podCIDRs]) => {
  const ownership = { peers: [now, other], refusals: claims.map(refused) };
  const { peers } = holdClaims(ownership, own, (name) => (name === "n2" ? had : undefined));
  expect([peers[0]?.nodeIPs, peers[0]?.podCIDRs]).toEqual([nodeIPs, podCIDRs]);
  expect(peers[1]).toEqual(other);
});

test("this node's own is not held for a peer that had it before", () => {
  const ownership = { peers: [peer("n2", [], [])], refusals: [refused("192.0.2.3/32")] };
  const { peers } = holdClaims(ownership, { nodeIPs: ["192.0.2.2"], podCIDRs: ["10.2.0.0/16"] }, () => had);
  expect(peers[0]).toEqual(peer("n2", [], []));
});
