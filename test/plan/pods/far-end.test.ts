// Ways between a pod and its node, as a table: what the kernel shows, and why the pod's traffic
// is not routed by the node, if it is not.
import { describe, expect, test } from "bun:test";
import type { Link } from "../../../src/net/objects.ts";
import { findBypass, type PodConnection } from "../../../src/plan/pods/far-end.ts";

const link = (name: string, kind: string, change: Partial<Link> = {}): Link => ({
  ...{ index: 2, name, kind, mtu: 1500, up: true, mac: "02:00:00:00:00:01" },
  ...change,
});
const bridge = link("cni0", "bridge", { index: 9 });
const local = { ip: "10.1.0.1", isNode: true };
const remote = { ip: "192.0.2.254", isNode: false };

/** A pod that is routed, as by ptp. */
const routed: PodConnection = {
  ifname: "eth0",
  link: link("eth0", "veth", { linkIndex: 7, linkNetnsId: 0 }),
  end: link("veth1", "veth", { index: 7 }),
  gateways: [],
  routes: [
    { ip: "10.1.0.5", dev: "veth1" },
    { ip: "fd00::5", dev: "veth1" },
  ],
};
const { end: _, ...endless } = routed;
const { link: _1, ...linkless } = endless;
/** One on a bridge of the node's, as by bridge with isGateway. */
const bridged: PodConnection = {
  ...{ ...routed, master: bridge, gateways: [local] },
  routes: [{ ip: "10.1.0.5", dev: "cni0" }],
};

describe("is routed here", () => {
  test.each<[string, PodConnection]>([
    ["a pair with its route", routed],
    ["netkit", { ...routed, link: link("eth0", "netkit"), end: link("nk1", "netkit"), routes: [] }],
    [
      "a route by an interface of the CNI's own (cilium_host)",
      { ...routed, routes: [{ ip: "10.1.0.5", dev: "cilium_host" }], uplinks: ["eth0"] },
    ],
    ["a port of a VRF", { ...routed, master: link("vrf1", "vrf") }],
    ["a bridge of which the node is the gateway", bridged],
    ["the same, with a port of the hardware", { ...bridged, portKinds: ["", "veth"] }],
    [
      "a bridge without a gateway or a way out",
      { ...bridged, gateways: [], portKinds: ["veth", "tun"], routes: [] },
    ],
  ])("%s", (_, way) => {
    expect(findBypass(way)).toBeUndefined();
  });
});

describe("is not", () => {
  test.each<[string, PodConnection, RegExp]>([
    ["no interface (vhost-user)", linkless, /has no interface eth0/],
    ["macvlan", { ...endless, link: link("eth0", "macvlan") }, /of kind macvlan/],
    ["ipvlan", { ...endless, link: link("eth0", "ipvlan") }, /of kind ipvlan/],
    ["SR-IOV, host-device", { ...endless, link: link("eth0", "") }, /a device of the hardware/],
    ["a tap", { ...endless, link: link("eth0", "tun") }, /of kind tun/],
    ["a VLAN of the hardware", { ...endless, link: link("eth0", "vlan") }, /of kind vlan/],
    ["a pair whose other end is elsewhere", endless, /other end of eth0 is not in this node/],
    ["Open vSwitch", { ...routed, master: link("ovs-system", "openvswitch") }, /of kind openvswitch/],
    ["a bridge with another gateway", { ...bridged, gateways: [local, remote] }, /cni0 to 192\.0\.2\.254/],
    [
      "a bridge with a way out, no gateway",
      { ...bridged, gateways: [], portKinds: ["veth", "vxlan"] },
      /leads out of this node/,
    ],
    [
      "no route back",
      { ...routed, routes: [{ ip: "10.1.0.5" }], uplinks: ["eth0"] },
      /no route to 10\.1\.0\.5/,
    ],
    [
      "a route back by the uplink",
      { ...routed, routes: [{ ip: "10.1.0.5", dev: "eth0" }], uplinks: ["eth0"] },
      /by eth0/,
    ],
  ])("%s", (_, way, why) => {
    expect(findBypass(way)).toMatch(why);
  });
});
