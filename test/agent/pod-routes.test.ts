// Pods' routes: the events of an ADD or a DEL need no pass; every other change of such a route needs one.
import { expect, test } from "bun:test";
import { type PodRouteFacts, PodRoutes } from "../../src/agent/pod-routes.ts";
import type { KernelChange } from "../../src/netlink/events.ts";
import { parseSettings, type Settings } from "../../src/plan/settings/settings.ts";

const permissive = parseSettings({});
const { podTable, hostTable } = permissive;
const refusing = parseSettings({ mode: "strict", clusterCIDRs: ["10.0.0.0/8"] });

function facts(settings: Settings): PodRouteFacts {
  const peer = { name: "n2", nodeIPs: ["192.0.2.2"], podCIDRs: ["10.2.0.0/24"] };
  const known = { settings, node: { podCIDRs: ["10.1.0.0/24"] }, ownership: { peers: [peer], refusals: [] } };
  return known as unknown as PodRouteFacts;
}

const route = (dst: string, isGone = false, table = podTable): KernelChange => ({
  ...{ about: "route", table, dst, type: "throw", isGone },
});

/** The addresses of the pods on record, the events, and whether a pass is needed. */
const cases: readonly [string, readonly string[], readonly KernelChange[], boolean, Settings?][] = [
  ["an ADD", ["10.1.0.5", "fd00::5"], [route("10.1.0.5/32"), route("fd00::5/128")], false],
  ["a DEL", [], [route("10.1.0.5/32", true)], false],
  ["an ADD and its DEL", [], [route("10.1.0.5/32"), route("10.1.0.5/32", true)], false],
  [
    "a DEL and an ADD with its address",
    ["10.1.0.5"],
    [route("10.1.0.5/32", true), route("10.1.0.5/32")],
    false,
  ],
  ["a live pod's route goes", ["10.1.0.5"], [route("10.1.0.5/32", true)], true],
  ["one of two", ["10.1.0.5", "10.1.0.6"], [route("10.1.0.6/32"), route("10.1.0.5/32", true)], true],
  ["a route of no pod comes", ["10.1.0.5"], [route("10.1.0.6/32")], true],
  ["a pod has a peer's address", ["10.2.0.5"], [route("10.2.0.5/32")], true],
  ["the other table, in which pods have none", ["10.1.0.5"], [route("10.1.0.5/32", false, hostTable)], true],
  ["the other table, refusing", ["10.1.0.5"], [route("10.1.0.5/32", false, hostTable)], false, refusing],
  ["a loss there", ["10.1.0.5"], [route("10.1.0.5/32", true, hostTable)], true, refusing],
];

test.each(cases)("%s", (_, podIPs, events, expected, settings = permissive) => {
  const routes = new PodRoutes();
  for (const event of events) expect(routes.note(event, settings)).toBe(true);
  expect(routes.areWrong(podIPs, facts(settings))).toBe(expected);
  expect(routes.areWrong([], facts(settings)), "the events are judged once").toBe(false);
});

test.each<[string, KernelChange]>([
  ["a link", { about: "link", name: "wg-cni-a", mtu: 1420, up: true }],
  ["a pod's CIDR", route("10.1.0.0/24")],
  ["another table", route("10.1.0.5/32", false, 254)],
  [
    "another kind of route",
    { about: "route", table: podTable, dst: "10.1.0.5/32", type: "unicast", isGone: false },
  ],
])("%s is not about a pod's route", (_, event) => {
  expect(new PodRoutes().note(event, permissive)).toBe(false);
});
