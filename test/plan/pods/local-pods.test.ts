// Addresses of this node's pods, and those of them that its record lacks, as a table.
import { expect, test } from "bun:test";
import { familyOf } from "../../../src/net/ip.ts";
import type { Address, Link, Route } from "../../../src/net/objects.ts";
import type { Outside } from "../../../src/plan/pods/far-end.ts";
import {
  announcedIPs,
  describePod,
  findBridgedPods,
  findPods,
  judgePods,
} from "../../../src/plan/pods/local-pods.ts";

function link(name: string, change: Partial<Link> = {}): Link {
  return {
    index: 1,
    name,
    kind: "veth",
    mtu: 1500,
    up: true,
    mac: "",
    linkIndex: 2,
    linkNetnsId: 0,
    ...change,
  };
}

function route(dst: string, dev: string, change: Partial<Route> = {}): Route {
  return {
    ...{ family: familyOf(dst), table: 254, type: "unicast", dst, dev, scope: "link", protocol: 4 },
    ...change,
  };
}

function address(dev: string, ip: string, length: number): Address {
  return { dev, ip, length, scope: "global", noPrefixRoute: false, noDad: false };
}

const { linkNetnsId: _, ...here } = link("pair0");

/** The kernel's state, and the addresses of pods that follow from it. */
const cases: readonly (readonly [
  what: string,
  links: readonly Link[],
  routes: readonly Route[],
  pods: readonly string[],
  addresses?: readonly Address[],
])[] = [
  ["nothing", [], [], []],
  [
    "AWS, Azure, GKE: a route to each",
    [link("eni1"), link("azv2")],
    [route("10.0.0.7/32", "eni1"), route("10.0.0.8/32", "azv2")],
    ["10.0.0.7", "10.0.0.8"],
  ],
  [
    "both families, with the link-local routes that every link has",
    [link("cali1")],
    [route("10.0.0.7/32", "cali1"), route("fd00::7/128", "cali1"), route("fe80::/64", "cali1")],
    ["10.0.0.7", "fd00::7"],
  ],
  [
    "in a table of an interface",
    [link("vlan1")],
    [route("10.0.0.7/32", "vlan1", { table: 101 })],
    ["10.0.0.7"],
  ],
  ["netkit", [link("nk1", { kind: "netkit" })], [route("10.0.0.7/32", "nk1")], ["10.0.0.7"]],
  [
    "ptp: the node's end has the gateway's address",
    [link("veth1")],
    [route("10.1.0.7/32", "veth1", { scope: "host" })],
    ["10.1.0.7"],
    [address("veth1", "10.1.0.1", 32)],
  ],
  ["a link that is down", [link("eni1", { up: false })], [route("10.0.0.7/32", "eni1")], []],
  ["a pair within the node", [here], [route("10.0.0.7/32", "pair0")], []],
  ["a tunnel, a bridge, hardware", [link("wg0", { kind: "wireguard" })], [route("10.0.0.7/32", "wg0")], []],
  [
    "an uplink of a node that is a container: a gateway",
    [link("eth0")],
    [route("10.0.0.7/32", "eth0"), route("0.0.0.0/0", "eth0", { via: "192.0.2.254" })],
    [],
  ],
  ["the same: a network", [link("eth1")], [route("10.0.0.7/32", "eth1"), route("192.0.2.0/24", "eth1")], []],
  [
    "the same: a host behind a gateway",
    [link("eth1")],
    [route("10.0.0.7/32", "eth1"), route("10.9.0.7/32", "eth1", { via: "10.0.0.7" })],
    [],
  ],
  ["a route that refuses", [link("eni1")], [route("10.0.0.7/32", "eni1", { type: "blackhole" })], []],
  [
    "an address of the node's own",
    [link("eni1")],
    [route("10.0.0.7/32", "eni1")],
    [],
    [address("kube-ipvs0", "10.0.0.7", 32)],
  ],
  [
    "gateways that plugins make up",
    [link("cali1")],
    [route("169.254.1.1/32", "cali1"), route("fe80::1/128", "cali1")],
    [],
  ],
];

test.each([...cases])("%s", (_what, links, routes, pods, addresses = []) => {
  expect(findPods({ links, routes, addresses }).map(({ ip }) => ip)).toEqual([...pods]);
});

test("a pod of ours is told from an earlier one, and what the record lacks is named", () => {
  const seen = [
    { ip: "10.0.0.7", dev: "eni1" },
    { ip: "10.0.0.8", dev: "eni2" },
    { ip: "10.9.0.9", dev: "eni3" },
  ];
  const attached = ["10.0.0.8", "10.8.0.1", "fe80::5"];
  expect(judgePods({ podCIDRs: ["10.0.0.0/24"], attached, seen, bridged: [], outside: [] })).toEqual({
    earlier: [seen[0], seen[2]] as never,
    unknown: [{ ip: "10.8.0.1" }, { ip: "10.9.0.9", dev: "eni3" }],
  });
  expect(announcedIPs(attached, seen)).toEqual(["10.0.0.8", "10.8.0.1", "fe80::5", "10.0.0.7", "10.9.0.9"]);
});

test("behind a bridge that is the uplink, what is in use is named, and nothing of the wire", () => {
  const port = (name: string, index: number, change: Partial<Link> = {}) =>
    link(name, { index, masterIndex: 9, ...change });
  const links = [
    link("br0", { index: 9, kind: "bridge" }),
    port("eth0", 1),
    port("veth1", 2),
    port("tap1", 3, { kind: "tun" }),
    port("veth2", 4, { masterIndex: 8 }),
  ];
  const macs = { gateway: "02:00:00:00:00:01", other: "02:00:00:00:00:02", pod: "02:00:00:00:00:03" };
  const neighbour = (ip: string, mac: string) => ({ dev: "br0", ip, mac, permanent: false });
  const view = {
    ...{ links, bridges: ["br0"], outside: new Set(["192.0.2.254"]) },
    neighbours: [
      neighbour("192.0.2.254", macs.gateway),
      neighbour("192.0.2.77", macs.other),
      neighbour("192.0.2.101", macs.pod),
      neighbour("192.0.2.102", "02:00:00:00:00:09"),
    ],
    learned: [
      { dev: "eth0", mac: macs.gateway },
      { dev: "eth0", mac: macs.other },
      { dev: "veth1", mac: macs.pod },
    ],
  };
  expect(findBridgedPods(view)).toEqual([{ ip: "192.0.2.101", dev: "veth1" }]);
  expect(findBridgedPods({ ...view, bridges: [] })).toEqual([]);
  const bridged = findBridgedPods(view);
  const facts = { podCIDRs: [], attached: [], seen: [], bridged, outside: [] };
  expect(judgePods(facts).unknown).toEqual([{ ip: "192.0.2.101", dev: "veth1" }]);
  expect(judgePods({ ...facts, podCIDRs: ["192.0.2.100/31"] }).unknown).toEqual([]);
});

test("what of an attached pod the tunnel cannot have is named with why, until the record has what was another node's", () => {
  const bypass: Outside = { kind: "bypass", ips: ["10.0.0.7"], why: "eth0 is an interface of kind macvlan" };
  const taken: Outside = { kind: "taken", ips: ["10.2.0.7"], why: "10.2.0.7 belongs to another node" };
  const facts = { attached: [], seen: [], bridged: [], outside: [bypass, taken] };
  const unknown = (podCIDRs: string[]) => judgePods({ ...facts, podCIDRs }).unknown.map(describePod);
  expect(unknown([])).toEqual([
    "10.0.0.7 (eth0 is an interface of kind macvlan)",
    "10.2.0.7 (10.2.0.7 belongs to another node)",
  ]);
  expect(unknown(["10.0.0.0/24", "10.2.0.0/24"])).toEqual([
    "10.0.0.7 (eth0 is an interface of kind macvlan)",
  ]);
});
