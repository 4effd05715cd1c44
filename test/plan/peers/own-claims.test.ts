// `up` refuses addresses and CIDRs that a peer has already.
import { expect, test } from "bun:test";
import { findTakenClaims } from "../../../src/plan/peers/own-claims.ts";

const neighbour = {
  ...{ name: "n2", slots: [], endpoints: ["198.51.100.2"], nodeIPs: ["192.0.2.2", "2001:db8::2"] },
  podCIDRs: ["10.2.0.0/24"],
};
interface Claims {
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
}
const nothing: Claims = { nodeIPs: [], podCIDRs: [] };

/** [what, wanted, before, addresses of the host, how many sentences]. */
const cases: [string, Partial<Claims>, Partial<Claims>, string[], number][] = [
  ["its own", { nodeIPs: ["192.0.2.1"], podCIDRs: ["10.1.0.0/24"] }, {}, [], 0],
  ["a neighbour's node IP", { nodeIPs: ["192.0.2.2"] }, {}, ["192.0.2.1"], 1],
  ["a neighbour's IPv6 address", { nodeIPs: ["2001:db8::2"] }, {}, [], 1],
  ["a neighbour's endpoint", { nodeIPs: ["198.51.100.2"] }, {}, [], 1],
  ["an address of a neighbour's pods", { nodeIPs: ["10.2.0.7"] }, {}, [], 1],
  [
    "an address that this host has: the neighbour's record is old",
    { nodeIPs: ["192.0.2.2"] },
    {},
    ["192.0.2.2"],
    0,
  ],
  ["what it claims already", { nodeIPs: ["192.0.2.2"] }, { nodeIPs: ["192.0.2.2"] }, [], 0],
  ["a part of a neighbour's CIDR", { podCIDRs: ["10.2.0.128/25"] }, {}, [], 1],
  ["a CIDR around a neighbour's address", { podCIDRs: ["192.0.2.0/24"] }, {}, [], 1],
  ["a CIDR that it has already", { podCIDRs: ["10.2.0.0/24"] }, { podCIDRs: ["10.2.0.0/24"] }, [], 0],
];

test.each(cases)("%s", (_what, wanted, before, hostIPs, count) => {
  const claims = { wanted: { ...nothing, ...wanted }, before: { ...nothing, ...before }, hostIPs };
  expect(findTakenClaims(claims, [neighbour])).toHaveLength(count);
});
