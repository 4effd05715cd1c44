// The underlay filter decides which of the kernel's events may change the tunnel's MTU.
import { describe, expect, test } from "bun:test";
import { UnderlayFilter } from "../../src/agent/underlay-filter.ts";
import type { KernelChange } from "../../src/netlink/events.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";

const record = { name: "n1", slots: [], endpoints: ["192.0.2.1", "2001:db8::1"], nodeIPs: [], podCIDRs: [] };
const peer = (name: string, endpoints: string[]) => ({
  ...record,
  name,
  endpoints,
  slots: [{ slot: "a" as const, publicKey: name, port: 51820, state: "active" as const }],
});
const facts = {
  settings: parseSettings({}),
  node: record,
  ownership: {
    peers: [peer("n2", ["192.0.2.2", "2001:db8::2"]), peer("n3", ["198.51.100.3"])],
    refusals: [],
  },
  mtu: { bytes: 1440, reason: "", uplinks: [{ dev: "eth0", mtu: 1500 }] },
};

const link = (name: string, mtu: number, up = true): KernelChange => ({ about: "link", name, mtu, up });
const route = (dst: string, table = 254): KernelChange => ({
  ...{ about: "route", dst, table, type: "unicast", isGone: false },
});

describe("what concerns the underlay", () => {
  const underlay = new UnderlayFilter();
  underlay.learn(facts);

  test.each<[string, KernelChange, boolean]>([
    ["an uplink with another MTU", link("eth0", 1400), true],
    ["an uplink that goes down", link("eth0", 1500, false), true],
    ["an uplink that is as it was", link("eth0", 1500), false],
    ["a pod's link", link("veth123", 1400), false],
    ["our own device", link("wg-cni-a", 1280), false],
    ["a default route", route("0.0.0.0/0"), true],
    ["an IPv6 default route", route("::/0"), true],
    ["a network with a peer in it", route("198.51.100.0/24"), true],
    ["an IPv6 network with a peer in it", route("2001:db8::/64"), true],
    ["a peer's own route", route("198.51.100.3/32"), true],
    ["the same in a table of another program", route("198.51.100.3/32", 1000), true],
    ["a network without peers", route("203.0.113.0/24"), false],
    ["a part of the peer's network without it", route("198.51.100.128/25"), false],
    ["a pod's route", route("10.1.0.7/32"), false],
    ["a pod's IPv6 route", route("fd00::7/128"), false],
    ["a link-local one, which comes with every link", route("fe80::/64"), false],
    ["our own tables", route("0.0.0.0/0", 18099), false],
    ["an address", { about: "address", ip: "192.0.2.1", index: 2 }, false],
    ["nftables", { about: "firewall", table: "wg-cni" }, false],
  ])("%s", (_, event, expected) => {
    expect(underlay.affects(event)).toBe(expected);
    // Asked twice: what was worked out for the first is remembered.
    expect(underlay.affects(event)).toBe(expected);
  });
});

test("what is learned takes the place of what was known", () => {
  const underlay = new UnderlayFilter();
  expect(underlay.affects(route("0.0.0.0/0"))).toBe(false);
  underlay.learn(facts);
  expect(underlay.affects(route("192.0.2.0/24"))).toBe(true);
  underlay.learn({
    ...facts,
    ownership: { peers: [peer("n3", ["198.51.100.3"])], refusals: [] },
    mtu: { ...facts.mtu, uplinks: [{ dev: "eth1", mtu: 9001 }] },
  });
  expect(underlay.affects(route("192.0.2.0/24"))).toBe(false);
  expect(underlay.affects(link("eth0", 1400))).toBe(false);
  expect(underlay.affects(link("eth1", 1500))).toBe(true);
});

test("an MTU that was set by hand depends on nothing", () => {
  const underlay = new UnderlayFilter();
  underlay.learn({
    ...facts,
    settings: parseSettings({ mtu: 1400 }),
    mtu: { bytes: 1400, reason: "set by hand", uplinks: [] },
  });
  for (const event of [link("eth0", 1400), route("0.0.0.0/0"), route("192.0.2.2/32")])
    expect(underlay.affects(event)).toBe(false);
});

test("a storm of routes beside thousands of peers is no work", () => {
  const peers = Array.from({ length: 5000 }, (_, i) => peer(`p${i}`, [`198.18.${i >> 8}.${i & 255}`]));
  const underlay = new UnderlayFilter();
  underlay.learn({ ...facts, ownership: { peers, refusals: [] } });
  let concerned = 0;
  for (let i = 0; i < 20_000; i++) if (underlay.affects(route(`198.18.${i & 255}.0/24`))) concerned++;
  // 5,000 addresses are in 20 networks of 256: found by looking up, not by searching.
  expect(concerned).toBe([...Array(20_000).keys()].filter((i) => (i & 255) < 20).length);
});
