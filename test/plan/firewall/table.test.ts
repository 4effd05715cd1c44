// The table that a firewall becomes, as nft(8) would list it. That nft understands
// the same is tested with nft itself (test/kernel/nftables/tables.test.ts).
import { expect, test } from "bun:test";
import type { NftTable } from "../../../src/net/nftables.ts";
import { checkSets } from "../../../src/plan/firewall/port-checks.ts";
import { countingSets, interfaceSets, transitSetsOf } from "../../../src/plan/firewall/sets.ts";
import { firewallTable, firewallTables, sumByPeer } from "../../../src/plan/firewall/table.ts";
import { refusedSets } from "../../../src/plan/report/refused-sources.ts";
import {
  arrivalChains,
  chainNames,
  chains,
  chainsBeside,
  encrypting,
  firewall,
  leavingChains,
} from "./firewalls.ts";

/** The table but for chains of these names. */
function without(names: readonly string[], table: NftTable): NftTable {
  return { ...table, chains: table.chains.filter(({ name }) => !names.includes(name)) };
}

/** The chains that files of their own test. */
const others = [...arrivalChains, ...leavingChains];

test("permissive: count, and mark what the tunnel cannot take", () => {
  const wanted = `
	chain clamp {
		tcp flags syn tcp option maxseg size set rt mtu
	}
	chain received {
		ip daddr @local4 accept
		ip daddr @own4 fib daddr type local accept
		ip6 daddr @local6 accept
		ip6 daddr @own6 fib daddr type local accept
		fib daddr type local update @stray_packets { iifname } drop
		update @stray_packets { iifname } reject with icmpx host-unreachable
	}
	chain taken {
		ip daddr @own4 accept
		ip daddr @local4 accept
		exthdr rt exists update @stray_packets { iifname } drop
		ip6 daddr @own6 accept
		ip6 daddr @local6 accept
		ip hdrlength != 5 update @stray_packets { iifname } drop
		ct status snat,dnat accept
		update @stray_packets { iifname } drop
	}
	chain input {
		type filter hook input priority raw; policy accept;
		iifname "wg-cni-a" goto taken
		iifname "wg-cni-b" goto taken
	}
	chain passing {
		oifname "eth0" ip daddr @local4 reject with icmpx host-unreachable
		oifname "eth0" ip6 daddr @local6 reject with icmpx host-unreachable
		tcp flags syn tcp option maxseg size set rt mtu
		ip daddr @local4 accept
		ip6 daddr @local6 accept
		ct status snat,dnat goto forwarded
		update @stray_packets { iifname } reject with icmpx host-unreachable
	}
	chain forwarded {
		oifname "wg-cni-a" accept
		oifname "wg-cni-b" accept
		ip daddr @hosts4_out
		ip6 daddr @hosts6_out
	}
	chain forward {
		type filter hook forward priority mangle; policy accept;
		iifname "wg-cni-a" goto passing
		iifname "wg-cni-b" goto passing
		goto forwarded
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
	chain port_checks {
		type filter hook input priority 1000; policy accept;
		udp sport 51820 accept
		udp sport 51821 accept
		iifname "wg-cni-a" accept
		iifname "wg-cni-b" accept
		udp dport 51820 @th,64,32 & 0xf8ffffff == 0x0 ip saddr @checks4_51820
		udp dport 51820 @th,64,32 & 0xf8ffffff == 0x0 ip6 saddr @checks6_51820
		udp dport 51821 @th,64,32 & 0xf8ffffff == 0x0 ip saddr @checks4_51821
		udp dport 51821 @th,64,32 & 0xf8ffffff == 0x0 ip6 saddr @checks6_51821
	}
	chain answers {
		type route hook output priority mangle; policy accept;
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 accept
		ip daddr @nodes4 ip saddr @own4 ct mark & 0x40000000 == 0x40000000 meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type destination-unreachable meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type time-exceeded meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 ip saddr @own4 icmp type parameter-problem meta mark set meta mark & 0xdfffffff | 0x40000000
		ip daddr @nodes4 fib saddr type != local meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 ct mark & 0x40000000 == 0x40000000 meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type destination-unreachable meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type time-exceeded meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type packet-too-big meta mark set meta mark & 0xdfffffff | 0x40000000
		ip6 daddr @nodes6 ip6 saddr @own6 icmpv6 type parameter-problem meta mark set meta mark & 0xdfffffff | 0x40000000
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
  expect(chains(without(others, firewallTable(firewall)))).toEqual(wanted.split("\n").slice(1));
});

test("strict: drop what is counted, and what the tunnel cannot take; the other chains are the same", () => {
  const wanted = `
	chain forwarded {
		oifname "eth0" ip daddr @local4 reject with icmpx host-unreachable
		oifname "eth0" ip6 daddr @local6 reject with icmpx host-unreachable
		oifname "wg-cni-a" accept
		oifname "wg-cni-b" accept
		ip daddr @hosts4_out drop
		ip6 daddr @hosts6_out drop
	}
	chain led_on {
		ct direction original ct status dnat goto forwarded
		ip saddr @hosts4_in drop
		ip6 saddr @hosts6_in drop
	}
	chain led_on_unknown {
		meta mark & 0x60000000 == 0x60000000 update @unknown_sources { iifname } drop
		goto forwarded
	}
	chain forward {
		type filter hook forward priority mangle; policy accept;
		iifname "wg-cni-a" goto passing
		iifname "wg-cni-b" goto passing
		ip saddr @nodes4 goto led_on
		ip saddr @cluster4 ip saddr != @local4 goto led_on_unknown
		ip6 saddr @nodes6 goto led_on
		ip6 saddr @cluster6 ip6 saddr != @local6 goto led_on_unknown
		goto forwarded
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
	}`;
  const permissive = firewallTable(firewall);
  const strict = without(others, firewallTable({ ...firewall, strict: true }));
  expect(chains(chainsBeside(permissive, strict))).toEqual(wanted.split("\n").slice(1));
  expect(chainNames(strict)).toEqual([
    "clamp",
    "received",
    "taken",
    "input",
    "passing",
    "forwarded",
    "led_on",
    "led_on_unknown",
    "forward",
    "postrouting",
    "port_checks",
    "answers",
  ]);
});

test("without connection tracking nothing asks for it", () => {
  for (const strict of [false, true]) {
    const table = firewallTable({ ...firewall, strict, connections: false });
    expect(chains(table).filter((line) => /\bct\b/.test(line))).toEqual([]);
  }
});

test("the sets hold each family's prefixes twice, once for each direction, and this node's own pods and the cluster's once", () => {
  const { sets } = firewallTable(firewall);
  expect(sets.map(({ name, elements }) => [name, ...elements])).toEqual([
    ["pods4_in", "10.2.0.0/24", "10.9.0.7/32"],
    ["hosts4_in", "192.0.2.2"],
    ["pods4_out", "10.2.0.0/24", "10.9.0.7/32"],
    ["hosts4_out", "192.0.2.2"],
    ["nodes4", "192.0.2.2"],
    ["own4", "192.0.2.1"],
    ["local4", "10.1.0.0/24", "10.1.1.0/24"],
    ["cluster4", "10.0.0.0/8"],
    ["pods6_in", "fd00:2::/64"],
    ["hosts6_in", "2001:db8::2"],
    ["pods6_out", "fd00:2::/64"],
    ["hosts6_out", "2001:db8::2"],
    ["nodes6", "2001:db8::2"],
    ["own6", "2001:db8::1"],
    ["local6", "fd00:1::/64"],
    ["cluster6", "fd00::/32"],
    ...refusedSets.map((name) => [name]),
    ["arrived"],
    ["spoofed"],
    ["unknown_sources"],
    ["stray_packets"],
    ["checks4_51820", "192.0.2.2"],
    ["checks6_51820", "2001:db8::2"],
    ["checks4_51821", "192.0.2.2"],
    ["checks6_51821", "2001:db8::2"],
    ["transit4", "192.0.2.2"],
    ["transit6", "2001:db8::2"],
  ]);
  const counting = [...countingSets, ...checkSets(firewall), ...transitSetsOf(firewall)].map(
    ({ name }) => name,
  );
  expect([...counting, ...interfaceSets, ...refusedSets].sort()).toEqual(
    sets.flatMap(({ name, counter }) => (counter ? [name] : [])).sort(),
  );
});

test("no table has two chains or two sets of one name", () => {
  for (const strict of [false, true])
    for (const podsAreAnnounced of [false, true])
      for (const some of [firewall, encrypting])
        for (const { chains, sets } of firewallTables({ ...some, strict, podsAreAnnounced }))
          for (const named of [chains, sets]) {
            const names = named.map(({ name }) => name);
            expect([...new Set(names)]).toEqual(names);
          }
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
