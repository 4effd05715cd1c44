// A table of rules that bypass ours: the pods are the same, the rule and the routes of its table differ.
import { expect, test } from "bun:test";
import { findBypassRules } from "../../src/doctor/bypass-rules.ts";
import type { Route, Rule } from "../../src/net/objects.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";
import { defaultRoute, rule } from "./facts.ts";

const settings = parseSettings({});
const remoteCIDRs = ["10.2.0.0/24", "fd00:2::/64"];
const early: Rule = { ...rule, priority: 10, table: 101 };
const route = (change: Partial<Route>): Route => ({ ...defaultRoute, ...change });
const way = route({});

test.each<[what: string, is: boolean, rule: Partial<Rule>, table?: Route]>([
  ["all packets", true, {}],
  ["those of an interface", true, { iif: "vlan0" }],
  ["those of some pods", true, { src: "10.1.0.7/32" }],
  ["all but the node's own", true, { iif: "lo", invert: true }],
  ["the node's own", false, { iif: "lo" }],
  ["those of a socket that is bound", false, { oif: "eth0" }],
  ["those with another program's mark", false, { fwmark: { mark: 0x80, mask: 0x80 } }],
  ["those without that mark", true, { fwmark: { mark: 0x80, mask: 0x80 }, invert: true }],
  ["selectors that we do not know", false, { hasOtherSelectors: true }],
  ["to other pods", true, { dst: "10.2.0.0/16" }],
  ["to elsewhere", false, { dst: "10.3.0.0/16" }],
  ["to all but elsewhere", true, { dst: "10.3.0.0/16", invert: true }],
  ["behind ours", false, { priority: 101 }],
  ["ours", false, { protocol: settings.routeProtocol }],
  ["the node's own addresses", false, { table: 255, priority: 0 }],
  ["a goto", false, { action: "goto", target: 200, table: undefined as never }],
  ["a table without a route", false, { table: 102 }],
  ["a table with a route to elsewhere", false, {}, route({ dst: "10.3.0.0/16" })],
  ["a table with a route to a part of them", true, {}, route({ dst: "10.2.0.128/25" })],
  ["a table that throws", false, {}, route({ type: "throw" })],
  ["a table of the other family", true, { family: 6 }, route({ family: 6, dst: "fd00::/16" })],
])("%s: %p", (_, is, change, has = way) => {
  const found = findBypassRules(settings, {
    rules: [{ ...early, ...change }],
    remoteCIDRs,
    routesOf: ({ family, table }) => (table === has.table && family === has.family ? [has] : []),
  });
  expect(found.map(({ route }) => route)).toEqual(is ? [has] : []);
});
