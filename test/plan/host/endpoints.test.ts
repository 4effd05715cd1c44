// A node's endpoints if none was typed, as a table: the state of the kernel as text, the choice, and the
// result.
import { describe, expect, test } from "bun:test";
import type { Address, AddressCaveat } from "../../../src/net/objects.ts";
import { describeEndpoints, findTransport, nextEndpoints } from "../../../src/plan/host/endpoints.ts";

interface Case {
  readonly name: string;
  /** "DEV IP/LENGTH [scope S] [CAVEAT]". */
  readonly addresses: readonly string[];
  readonly uplinks?: readonly string[];
  readonly dev?: string;
  readonly cidrs?: readonly string[];
  readonly endpoints?: readonly string[];
  readonly problem?: string;
}

const plain = [
  "lo 127.0.0.1/8 scope host",
  "eth0 192.0.2.1/24",
  "eth0 2001:db8::1/64",
  "eth0 fe80::1/64 scope link",
];
const two = [...plain, "eth1 10.9.0.1/16", "eth1 fd09::1/64"];

const cases: readonly Case[] = [
  {
    name: "the default route's interface, IPv4 first",
    addresses: plain,
    endpoints: ["192.0.2.1", "2001:db8::1"],
  },
  { name: "another interface is not asked", addresses: two, endpoints: ["192.0.2.1", "2001:db8::1"] },
  {
    name: "two default routes, the better first in each family",
    addresses: two,
    uplinks: ["eth1", "eth0"],
    endpoints: ["10.9.0.1", "192.0.2.1", "fd09::1", "2001:db8::1"],
  },
  { name: "the interface that was chosen", addresses: two, dev: "eth1", endpoints: ["10.9.0.1", "fd09::1"] },
  {
    name: "the network that was chosen, on whatever interface",
    addresses: two,
    cidrs: ["10.0.0.0/8", "2001:db8::/32"],
    endpoints: ["10.9.0.1", "2001:db8::1"],
  },
  { name: "both", addresses: two, dev: "eth1", cidrs: ["fd00::/8"], endpoints: ["fd09::1"] },
  {
    name: "both, and nothing in them",
    addresses: two,
    dev: "eth0",
    cidrs: ["10.0.0.0/8"],
    problem:
      "interface eth0 has no address in 10.0.0.0/8; it has 192.0.2.1, 2001:db8::1, fe80::1 (link-local)",
  },
  {
    name: "an interface without addresses",
    addresses: ["eth0 192.0.2.1/24"],
    dev: "eth2",
    problem: "interface eth2 has no address that other nodes can reach; it has none at all",
  },
  {
    name: "no such interface, a slip",
    addresses: plain,
    dev: "ehT0",
    problem: "there is no interface ehT0; did you mean eth0?",
  },
  {
    name: "no such interface",
    addresses: plain,
    dev: "bond7",
    problem: "there is no interface bond7; there are eth0, eth1, eth2",
  },
  {
    name: "a network without an address",
    addresses: two,
    cidrs: ["172.16.0.0/12"],
    problem:
      "no interface has an address in 172.16.0.0/12; there is 192.0.2.1 (eth0), 2001:db8::1 (eth0), fe80::1 (eth0, link-local), 10.9.0.1 (eth1), fd09::1 (eth1)",
  },
  {
    name: "no default route",
    addresses: plain,
    uplinks: [],
    problem: "no default route says which interface leads to the other nodes",
  },
  {
    name: "what passes, or no other node reaches, is no endpoint",
    addresses: [
      ...["eth0 192.0.2.1/24", "eth0 2001:db8::7/64 temporary", "eth0 2001:db8::8/64 deprecated"],
      ...["eth0 2001:db8::9/64 tentative", "eth0 2001:db8::a/64 duplicate", "eth0 169.254.9.9/16"],
      ...["eth0 fe80::1/64 scope link", "eth0 ::ffff:192.0.2.9/128"],
    ],
    endpoints: ["192.0.2.1"],
  },
  {
    name: "nothing else there",
    addresses: ["eth0 2001:db8::7/64 temporary", "eth0 169.254.9.9/16 scope link"],
    problem:
      "interface eth0 has no address that other nodes can reach; it has 2001:db8::7 (temporary), 169.254.9.9 (link-local)",
  },
  {
    name: "virtual addresses move between nodes: they are left out",
    addresses: [
      "eth0 192.0.2.1/24",
      "eth0 192.0.2.50/24 secondary",
      "eth0 192.0.2.60/32",
      "eth0 2001:db8::60/128",
    ],
    endpoints: ["192.0.2.1", "2001:db8::60"],
  },
  { name: "but where there is nothing else", addresses: ["eth0 10.128.0.7/32"], endpoints: ["10.128.0.7"] },
  {
    name: "or a network was chosen that they are in",
    addresses: ["eth0 192.0.2.1/24", "eth0 192.0.2.50/24 secondary", "lo 198.51.100.1/32"],
    cidrs: ["192.0.2.32/27", "198.51.100.0/24"],
    endpoints: ["192.0.2.50", "198.51.100.1"],
  },
  {
    name: "our own devices have the node's addresses, and never count",
    addresses: ["wg-cni-a 192.0.2.1/32", "wg-cni-b 192.0.2.1/32", "eth1 10.9.0.1/16"],
    cidrs: ["0.0.0.0/0"],
    endpoints: ["10.9.0.1"],
  },
  {
    name: "IPv6 addresses of one interface in an order that a new one does not turn over",
    addresses: ["eth0 2001:db8::20/64", "eth0 2001:db8::3/64", "eth0 192.0.2.9/24", "eth0 192.0.2.1/24"],
    endpoints: ["192.0.2.9", "192.0.2.1", "2001:db8::3", "2001:db8::20"],
  },
  {
    name: "an address on two interfaces is one endpoint",
    addresses: ["eth0 192.0.2.1/24", "eth1 192.0.2.1/24"],
    cidrs: ["192.0.2.0/24"],
    endpoints: ["192.0.2.1"],
  },
];

describe("endpoints that were not configured", () => {
  test.each(cases)("$name", ({ addresses, uplinks = ["eth0"], dev = "", cidrs = [], endpoints, problem }) => {
    const found = findTransport({
      settings: { transportInterface: dev, transportCIDRs: cidrs, deviceA: "wg-cni-a", deviceB: "wg-cni-b" },
      links: ["lo", "eth0", "eth1", "eth2"],
      addresses: addresses.map(readAddress),
      uplinks,
    });
    if ("problem" in found) expect(found.problem).toBe(problem ?? "(none)");
    else expect(found.endpoints).toEqual(endpoints ?? []);
  });

  test("an interface with a thousand addresses gives a record that peers accept", () => {
    const addresses = Array.from({ length: 1000 }, (_, i) =>
      readAddress(`eth0 10.0.${i >> 8}.${i & 255}/32`),
    );
    const settings = { transportInterface: "", transportCIDRs: [], deviceA: "a", deviceB: "b" };
    const found = findTransport({ settings, links: ["eth0"], addresses, uplinks: ["eth0"] });
    expect("problem" in found ? [] : found.endpoints).toHaveLength(16);
  });
});

describe("endpoints that are stored, beside what is there now", () => {
  const found = { endpoints: ["192.0.2.7"], from: "eth0" };
  const none = { problem: "interface eth0 has none" };
  const stored = (endpointsFound: boolean, ip: string) => ({ endpoints: [ip], endpointsFound });

  test.each([
    ["typed", stored(false, "192.0.2.1"), found, undefined, "given by --endpoint"],
    ["the same", stored(true, "192.0.2.7"), found, undefined, "found on eth0"],
    [
      "others",
      stored(true, "192.0.2.1"),
      found,
      ["192.0.2.7"],
      "found before; now eth0 has 192.0.2.7, which",
    ],
    ["gone", stored(true, "192.0.2.1"), none, undefined, "kept from before: interface eth0 has none"],
  ])("%s", (_, before, now, next, words) => {
    expect(nextEndpoints(before, now)).toEqual(next);
    expect(describeEndpoints(before, now)).toStartWith(words);
  });
});

function readAddress(text: string): Address {
  const [dev = "", network = "", ...words] = text.split(" ");
  const scope = words[0] === "scope" ? (words[1] as Address["scope"]) : "global";
  const caveat = words.at(-1) === scope ? undefined : (words.at(-1) as AddressCaveat | undefined);
  const [ip = "", length] = network.split("/");
  const address = { dev, ip, length: Number(length), scope, noPrefixRoute: false, noDad: false };
  return caveat === undefined ? address : { ...address, caveat };
}
