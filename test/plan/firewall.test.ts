// The table that a firewall becomes, as nft(8) would list it. That nft understands
// the same is tested with nft itself (test/kernel/nftables.test.ts).
import { describe, expect, test } from "bun:test";
import type { NftTable } from "../../src/net/nftables.ts";
import { formatNftRule } from "../../src/net/nftables-text.ts";
import { firewallTable, sumByPeer } from "../../src/plan/firewall.ts";
import { countingSets, type Firewall } from "../../src/plan/firewall-sets.ts";
import { chains, firewall } from "./firewalls.ts";

test("permissive: count, and mark what arrives in clear and what the tunnel cannot take", () => {
  const wanted = `
	chain clamp {
		tcp flags syn tcp option maxseg size set rt mtu
	}
	chain received {
		ip daddr @local4 accept
		ip daddr @own4 fib daddr type local accept
		ip6 daddr @local6 accept
		ip6 daddr @own6 fib daddr type local accept
		reject with icmpx host-unreachable
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto received
		iifname "wg-cni-b" goto received
		ip saddr @pods4_in meta mark set meta mark | 0x60000000
		ip6 saddr @pods6_in meta mark set meta mark | 0x60000000
		ip saddr @nodes4 fib daddr type != local meta mark set meta mark | 0x60000000
		ip6 saddr @nodes6 fib daddr type != local meta mark set meta mark | 0x60000000
	}
	chain delivered {
		ct mark set ct mark | 0x40000000
	}
	chain reroute {
		fib daddr type local accept
		meta mark set meta mark & 0xdfffffff | 0x40000000
		fib daddr . mark oifname "wg-cni-a" accept
		fib daddr . mark oifname "wg-cni-b" accept
		fib daddr . mark oif exists meta mark set meta mark | 0x60000000
	}
	chain arrivals {
		type filter hook prerouting priority 1000; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto delivered
		iifname "wg-cni-b" goto delivered
		ip daddr @local4 ct direction reply ip saddr @hosts4_in
		ip daddr @local4 ct direction original ct status ! dnat ip saddr @hosts4_in
		ip6 daddr @local6 ct direction reply ip6 saddr @hosts6_in
		ip6 daddr @local6 ct direction original ct status ! dnat ip6 saddr @hosts6_in
		meta mark & 0x60000000 == 0x40000000 fib daddr type local meta mark set meta mark & 0x9fffffff | 0x00000000
		meta mark & 0x60000000 == 0x60000000 goto reroute
		ip saddr @nodes4 goto reroute
		ip6 saddr @nodes6 goto reroute
	}
	chain passing {
		oifname "eth0" ip daddr @local4 reject with icmpx host-unreachable
		oifname "eth0" ip6 daddr @local6 reject with icmpx host-unreachable
		tcp flags syn tcp option maxseg size set rt mtu
		ip daddr @local4 accept
		ip6 daddr @local6 accept
		ct status ! snat,dnat reject with icmpx host-unreachable
		oifname "wg-cni-a" accept
		oifname "wg-cni-b" accept
		ip daddr @hosts4_out
		ip6 daddr @hosts6_out
	}
	chain forward {
		type filter hook forward priority mangle; policy accept;
		iifname "wg-cni-a" goto passing
		iifname "wg-cni-b" goto passing
		oifname "wg-cni-a" accept
		oifname "wg-cni-b" accept
		ip daddr @hosts4_out
		ip6 daddr @hosts6_out
	}
	chain postrouting {
		type filter hook postrouting priority raw; policy accept;
		oif "lo" accept
		oifname "wg-cni-a" goto clamp
		oifname "wg-cni-b" goto clamp
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 ip daddr @nodes4 fib saddr type local accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 ip6 daddr @nodes6 fib saddr type local accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 ip daddr @nodes4 fib saddr type local accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 ip6 daddr @nodes6 fib saddr type local accept
		ip daddr @pods4_out
		ip6 daddr @pods6_out
	}
	chain answers {
		type route hook output priority mangle; policy accept;
		ip daddr @nodes4 ip saddr @own4 ct mark & 0x40000000 == 0x40000000 meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type destination-unreachable meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type time-exceeded meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 fib saddr type != local meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 ct mark & 0x40000000 == 0x40000000 meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type destination-unreachable meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type time-exceeded meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type packet-too-big meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 fib saddr type != local meta mark set meta mark & 0xdfffffff | 0x40000000
	}
	chain foreign {
		type route hook output priority mangle; policy accept;
		ip saddr @own4 accept
		ip saddr @local4 accept
		ip6 saddr @own6 accept
		ip6 saddr @local6 accept
		oifname "wg-cni-a" meta mark set meta mark & 0xbfffffff | 0x20000000
		oifname "wg-cni-b" meta mark set meta mark & 0xbfffffff | 0x20000000
	}`;
  expect(chains(firewallTable(firewall))).toEqual(wanted.split("\n").slice(1));
});

test("strict: drop what is counted, and what the tunnel cannot take", () => {
  const wanted = `
	chain clamp {
		tcp flags syn tcp option maxseg size set rt mtu
	}
	chain received {
		ip daddr @local4 accept
		ip daddr @own4 fib daddr type local accept
		ip6 daddr @local6 accept
		ip6 daddr @own6 fib daddr type local accept
		reject with icmpx host-unreachable
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto received
		iifname "wg-cni-b" goto received
		ip saddr @pods4_in drop
		ip6 saddr @pods6_in drop
		ip saddr @nodes4 fib daddr type != local meta mark set meta mark | 0x60000000
		ip6 saddr @nodes6 fib daddr type != local meta mark set meta mark | 0x60000000
	}
	chain delivered {
		ct mark set ct mark | 0x40000000
	}
	chain reroute {
		fib daddr type local accept
		meta mark set meta mark & 0xdfffffff | 0x40000000
		fib daddr . mark oifname "wg-cni-a" accept
		fib daddr . mark oifname "wg-cni-b" accept
		fib daddr . mark oif exists meta mark set meta mark | 0x60000000
	}
	chain arrivals {
		type filter hook prerouting priority 1000; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto delivered
		iifname "wg-cni-b" goto delivered
		ip daddr @local4 ct direction reply ip saddr @hosts4_in drop
		ip daddr @local4 ct direction original ct status ! dnat ip saddr @hosts4_in drop
		ip6 daddr @local6 ct direction reply ip6 saddr @hosts6_in drop
		ip6 daddr @local6 ct direction original ct status ! dnat ip6 saddr @hosts6_in drop
		meta mark & 0x60000000 == 0x40000000 fib daddr type local meta mark set meta mark & 0x9fffffff | 0x00000000
		meta mark & 0x60000000 == 0x60000000 goto reroute
		ip saddr @nodes4 goto reroute
		ip6 saddr @nodes6 goto reroute
	}
	chain passing {
		oifname "eth0" ip daddr @local4 reject with icmpx host-unreachable
		oifname "eth0" ip6 daddr @local6 reject with icmpx host-unreachable
		tcp flags syn tcp option maxseg size set rt mtu
		ip daddr @local4 accept
		ip6 daddr @local6 accept
		ct status ! snat,dnat reject with icmpx host-unreachable
		oifname "wg-cni-a" accept
		oifname "wg-cni-b" accept
		ip daddr @hosts4_out drop
		ip6 daddr @hosts6_out drop
	}
	chain forward {
		type filter hook forward priority mangle; policy accept;
		iifname "wg-cni-a" goto passing
		iifname "wg-cni-b" goto passing
		oifname "eth0" ip daddr @local4 reject with icmpx host-unreachable
		oifname "eth0" ip6 daddr @local6 reject with icmpx host-unreachable
		oifname "wg-cni-a" accept
		oifname "wg-cni-b" accept
		ip daddr @hosts4_out drop
		ip6 daddr @hosts6_out drop
	}
	chain postrouting {
		type filter hook postrouting priority raw; policy accept;
		oif "lo" accept
		oifname "wg-cni-a" goto clamp
		oifname "wg-cni-b" goto clamp
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 ip daddr @nodes4 fib saddr type local accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 ip6 daddr @nodes6 fib saddr type local accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 ip daddr @nodes4 fib saddr type local accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 ip6 daddr @nodes6 fib saddr type local accept
		oifname "eth0" ip daddr @local4 drop
		oifname "eth0" ip6 daddr @local6 drop
		ip daddr @pods4_out drop
		ip6 daddr @pods6_out drop
	}
	chain answers {
		type route hook output priority mangle; policy accept;
		ip daddr @nodes4 ip saddr @own4 ct mark & 0x40000000 == 0x40000000 meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type destination-unreachable meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type time-exceeded meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 fib saddr type != local meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 ct mark & 0x40000000 == 0x40000000 meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type destination-unreachable meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type time-exceeded meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type packet-too-big meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 fib saddr type != local meta mark set meta mark & 0xdfffffff | 0x40000000
	}
	chain known {
		ip saddr @local4 accept
		ip saddr @own4 accept
		ip daddr @pods4_out drop
		ip daddr @hosts4_out drop
		ip6 saddr @local6 accept
		ip6 saddr @own6 accept
		ip6 daddr @pods6_out drop
		ip6 daddr @hosts6_out drop
	}
	chain tunneled {
		type filter hook postrouting priority 200; policy accept;
		oifname "wg-cni-a" goto known
		oifname "wg-cni-b" goto known
	}`;
  expect(chains(firewallTable({ ...firewall, strict: true }))).toEqual(wanted.split("\n").slice(1));
});

describe("where each pod is announced by itself", () => {
  const announced = { ...firewall, podsAreAnnounced: true };
  const names = (table: NftTable) => table.chains.map(({ name }) => name);

  test("permissive: a source that the others do not know stays outside", () => {
    const { chains: all, ...table } = firewallTable(announced);
    const own = all.filter(({ name }) => !names(firewallTable(firewall)).includes(name));
    const wanted = `
	chain outside {
		meta mark set meta mark | 0x60000000
	}
	chain unannounced {
		iifname "eth0" accept
		ip saddr @local4 accept
		ip6 saddr @local6 accept
		fib daddr type local accept
		meta mark set meta mark & 0xdfffffff | 0x40000000
		fib daddr . mark oifname "wg-cni-a" goto outside
		fib daddr . mark oifname "wg-cni-b" goto outside
		meta mark set meta mark & 0x9fffffff | 0x00000000
	}`;
    expect(chains({ ...table, chains: own })).toEqual(wanted.split("\n").slice(1));
    const arrivals = all.find(({ name }) => name === "arrivals")?.rules ?? [];
    expect(arrivals.slice(-1).map(formatNftRule)).toEqual(["goto unannounced"]);
  });

  test("strict: it is dropped in postrouting like any other that the tunnel cannot take", () => {
    const strict = (firewall: Firewall) => firewallTable({ ...firewall, strict: true });
    expect(strict(announced)).toEqual(strict(firewall));
  });
});

test("without connection tracking nothing asks for it", () => {
  for (const strict of [false, true]) {
    const table = firewallTable({ ...firewall, strict, connections: false });
    expect(chains(table).filter((line) => /\bct\b/.test(line))).toEqual([]);
  }
});

test("the sets hold each family's prefixes twice, once for each direction, and this node's own pods once", () => {
  const { sets } = firewallTable(firewall);
  expect(sets.map(({ name, elements }) => [name, ...elements])).toEqual([
    ["pods4_in", "10.2.0.0/24", "10.9.0.7/32"],
    ["hosts4_in", "192.0.2.2"],
    ["pods4_out", "10.2.0.0/24", "10.9.0.7/32"],
    ["hosts4_out", "192.0.2.2"],
    ["nodes4", "192.0.2.2"],
    ["own4", "192.0.2.1"],
    ["local4", "10.1.0.0/24", "10.1.1.0/24"],
    ["pods6_in", "fd00:2::/64"],
    ["hosts6_in", "2001:db8::2"],
    ["pods6_out", "fd00:2::/64"],
    ["hosts6_out", "2001:db8::2"],
    ["nodes6", "2001:db8::2"],
    ["own6", "2001:db8::1"],
    ["local6", "fd00:1::/64"],
  ]);
  expect(countingSets.map(({ name }) => name).sort()).toEqual(
    sets.flatMap(({ name, counter }) => (counter ? [name] : [])).sort(),
  );
});

test("counters of a peer's prefixes add up; a peer without any has 0", () => {
  const counters = new Map([
    ["10.2.0.0/24", { packets: 3, bytes: 300 }],
    ["fd00:2::/64", { packets: 1, bytes: 60 }],
  ]);
  const remotes = [
    { element: "10.2.0.0/24", peer: "n2" },
    { element: "fd00:2::/64", peer: "n2" },
    { element: "10.9.0.7/32", peer: "n3" },
  ];
  expect(sumByPeer(remotes, counters)).toEqual(
    new Map([
      ["n2", { packets: 4, bytes: 360 }],
      ["n3", { packets: 0, bytes: 0 }],
    ]),
  );
});
