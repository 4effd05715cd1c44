// The peers that packets with a refused source went to, and what is said of those that are in the tunnel.
import { expect, test } from "bun:test";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import type { PeerReach } from "../../../src/plan/report/reach.ts";
import { addLosses, listRefused, listSources } from "../../../src/plan/report/refused-sources.ts";

const peers: readonly OwnedPeer[] = [
  {
    ...{ name: "n2", slots: [], endpoints: [], nodeIPs: ["192.0.2.2"] },
    podCIDRs: ["10.2.0.0/24", "fd00:2::/64"],
  },
  { name: "n3", slots: [], endpoints: [], nodeIPs: ["192.0.2.3"], podCIDRs: ["10.3.0.0/24"] },
];
const counted = (...ips: readonly string[]) => new Map(ips.map((ip) => [ip, { packets: 2, bytes: 120 }]));

test("listRefused names the owners of the destinations, each once, and the sources of both families", () => {
  const counters = new Map([
    ["refused_sources4", counted("198.51.100.9")],
    ["refused_sources6", counted("2001:db8:99::9")],
    ["refused_destinations4", counted("10.2.0.7", "10.2.0.8", "192.0.2.3", "203.0.113.1")],
    ["refused_destinations6", counted("fd00:2::7")],
  ]);
  expect(listRefused(peers, counters)).toEqual({
    sources: new Map([
      ["198.51.100.9", 2],
      ["2001:db8:99::9", 2],
    ]),
    peers: ["n2", "n3"],
  });
  expect(listRefused(peers, new Map())).toEqual({ sources: new Map(), peers: [] });
});

test("addLosses adds a loss to peers in the tunnel that packets went to, and to no other", () => {
  const reaches = new Map<string, PeerReach>([
    ["n2", { reach: "tunnel", slot: "a" }],
    ["n3", { reach: "plaintext", why: "the route is by eth0" }],
    ["n4", { reach: "tunnel", slot: "a" }],
  ]);
  const sources = new Map([["198.51.100.9", 2]]);
  const all = addLosses(reaches, { sources, peers: ["n2", "n3", "n5"] });
  expect([...all].map(([name, { loss }]) => [name, loss?.includes("198.51.100.9")])).toEqual([
    ["n2", true],
    ["n3", undefined],
    ["n4", undefined],
  ]);
  expect(addLosses(reaches, { sources, peers: [] })).toBe(reaches);
});

test("listSources names three sources at most", () => {
  const sources = new Map(["d", "c", "b", "a"].map((ip) => [ip, 1]));
  expect(listSources(sources)).toBe("a, b, c and 1 more");
});
