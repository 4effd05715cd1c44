// Addresses that are other nodes' and not this one's to give to a pod.
import { expect, test } from "bun:test";
import { nodeSet, podSet } from "../../../src/plan/firewall/sets.ts";
import { findHolder, peerSets, withoutTaken } from "../../../src/plan/peers/taken.ts";

const peers = [
  { name: "n2", nodeIPs: ["192.0.2.2", "2001:db8::2"], podCIDRs: ["10.2.0.0/24", "fd00:2::/64"] },
  { name: "n3", nodeIPs: ["192.0.2.3"], podCIDRs: ["10.3.0.7/32"] },
];

test.each([
  ["10.2.0.7", "n2"],
  ["fd00:2::7", "n2"],
  ["192.0.2.2", "n2"],
  ["2001:db8::2", "n2"],
  ["10.3.0.7", "n3"],
  ["10.3.0.8", undefined],
  ["10.1.0.7", undefined],
])("%s is held by %s", (ip, holder) => {
  expect(findHolder(peers, ip)).toBe(holder as string);
  expect(withoutTaken([ip, "10.9.0.1"], { own: [], peers })).toEqual(
    holder === undefined ? [ip, "10.9.0.1"] : ["10.9.0.1"],
  );
});

test("what this node has already stays its own, whatever a peer claims of it", () => {
  const own = ["10.2.0.0/28", "192.0.2.3/32"];
  expect(withoutTaken(["10.2.0.7", "10.2.0.77", "192.0.2.3"], { own, peers })).toEqual([
    "10.2.0.7",
    "192.0.2.3",
  ]);
});

test("the sets that are asked are those that the table of the mesh has", () => {
  for (const family of [4, 6] as const)
    expect(peerSets(family)).toEqual([podSet(family, "in"), nodeSet(family)]);
});
