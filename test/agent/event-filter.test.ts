// The event filter decides which of the kernel's events need a reconcile pass: a node with a hundred
// pods and another CNI plugin has events all day.
import { expect, test } from "bun:test";
import { affectsMesh, affectsPods } from "../../src/agent/event-filter.ts";
import type { KernelChange } from "../../src/netlink/events.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";

const rule = (priority: number, table: number, protocol = 3): KernelChange => ({
  ...{ about: "rule", priority, table, protocol },
});

const route = (table: number, dst: string): KernelChange => ({
  ...{ about: "route", table, dst, type: "unicast", isGone: false },
});

const node = { podCIDRs: ["10.1.0.0/24", "fd00:1::/64"], deviceIndexes: new Set([6, 7]) };

test.each<[string, KernelChange, boolean]>([
  ["our device", { about: "link", name: "wg-cni-b", mtu: 1420, up: true }, true],
  ["a pod's link", { about: "link", name: "veth1", mtu: 1500, up: true }, false],
  ["our table of hosts", route(18098, "192.0.2.2/32"), true],
  ["our table of pods", route(18099, "10.2.0.0/24"), true],
  ["a pod's route", route(254, "10.1.0.7/32"), false],
  ["our nftables table", { about: "firewall", table: "wg-cni" }, true],
  ["kube-proxy's", { about: "firewall", table: "kube-proxy" }, false],
  ["a rule of ours", rule(5000, 254, 118), true],
  ["a rule that points at our table", rule(5000, 18099), true],
  ["a rule at a priority of ours", rule(99, 254), true],
  ["a rule behind ours", rule(101, 254), false],
  ["a rule of a cloud's plugin for a pod", rule(512, 254), false],
  ["a node's address", { about: "address", ip: "192.0.2.1", index: 2 }, true],
  ["a link-local one", { about: "address", ip: "fe80::1", index: 2 }, false],
  ["a pod's gateway", { about: "address", ip: "10.1.0.1", index: 2 }, false],
  ["a pod's gateway, IPv6", { about: "address", ip: "fd00:1::1", index: 2 }, false],
  ["a pod's address on a device of ours", { about: "address", ip: "10.1.0.7", index: 7 }, true],
  ["a link-local one on a device of ours", { about: "address", ip: "fe80::1", index: 7 }, false],
  ["a reverse-path filter", { about: "reversePathFilter" }, true],
  ["forwarding of the host", { about: "forwarding" }, true],
  ["forwarding of a device of ours", { about: "forwarding", index: 6 }, true],
  ["forwarding of another interface", { about: "forwarding", index: 2 }, false],
  ["another program's rule before ours", rule(90, 254), true],
])("%s", (_, event, expected) => {
  expect(affectsMesh(event, parseSettings({}), node)).toBe(expected);
});

test.each<[string, KernelChange, boolean]>([
  ["a pod's route", route(254, "10.0.0.7/32"), true],
  ["a pod's route, IPv6, in a table of an interface", route(101, "fd00::7/128"), true],
  ["a network", route(254, "10.0.0.0/24"), false],
  ["the node's own address", route(255, "10.0.0.7/32"), false],
  ["a route of ours", route(18099, "10.0.0.7/32"), false],
  ["a link-local one", route(254, "fe80::1/128"), false],
  ["the link of a pod goes", { about: "link", name: "eni1", mtu: 1500, up: false }, true],
  ["the link of a pod changes", { about: "link", name: "eni1", mtu: 1500, up: true }, false],
  ["another link goes", { about: "link", name: "veth1", mtu: 1500, up: false }, false],
])("where each pod is announced: %s", (_, event, expected) => {
  const links = new Set(["eni1"]);
  expect(affectsPods(event, parseSettings({ podAddresses: "pods" }), links)).toBe(expected);
  expect(affectsPods(event, parseSettings({}), links)).toBe(false);
});
