// The chains of a firewall for what arrives, as nft(8) would list them.
import { describe, expect, test } from "bun:test";
import type { NftTable } from "../../../src/net/nftables.ts";
import { formatNftRule } from "../../../src/net/nftables-text.ts";
import type { Firewall } from "../../../src/plan/firewall/sets.ts";
import { firewallTable } from "../../../src/plan/firewall/table.ts";
import { arrivalChains, chainNames, chains, chainsBeside, firewall } from "./firewalls.ts";

/** Only the chains for what arrives. */
function arrival(table: NftTable): NftTable {
  return { ...table, chains: table.chains.filter(({ name }) => arrivalChains.includes(name)) };
}

test("permissive: count and mark what arrives in plaintext, if it may be the peer's", () => {
  const wanted = `
	chain spoofed {
		update @spoofed { iifname }
	}
	chain elsewhere {
		fib saddr . mark . iif oif exists ip saddr @transit4
		fib saddr . mark . iif oif exists ip6 saddr @transit6
	}
	chain nodes {
		fib daddr type local accept
		meta mark set meta mark | 0x60000000
		fib daddr type unicast goto elsewhere
		fib daddr type blackhole goto elsewhere
		fib daddr type unreachable goto elsewhere
		fib daddr type prohibit goto elsewhere
	}
	chain other_sources {
		ip saddr @nodes4 goto nodes
		ip6 saddr @nodes6 goto nodes
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto received
		iifname "wg-cni-b" goto received
		ip saddr != @pods4_in goto other_sources
		ip6 saddr != @pods6_in goto other_sources
		meta mark set meta mark | 0x60000000
		udp dport 51820 @th,64,32 & 0xf8ffffff == 0x0 fib daddr type local accept
		udp dport 51821 @th,64,32 & 0xf8ffffff == 0x0 fib daddr type local accept
		fib saddr . mark . iif oif missing goto spoofed
		update @arrived { iifname }
		ip saddr @pods4_in
		ip6 saddr @pods6_in
	}
	chain delivered {
		icmp type destination-unreachable accept
		icmp type time-exceeded accept
		icmp type parameter-problem accept
		icmpv6 type destination-unreachable accept
		icmpv6 type time-exceeded accept
		icmpv6 type packet-too-big accept
		icmpv6 type parameter-problem accept
		ct mark set ct mark | 0x40000000
	}
	chain reroute {
		fib daddr type local accept
		meta mark set meta mark & 0xdfffffff | 0x40000000
		fib daddr . mark oifname "wg-cni-a" accept
		fib daddr . mark oifname "wg-cni-b" accept
		fib daddr . mark oif exists meta mark set meta mark | 0x60000000
	}
	chain untunneled {
		meta mark set meta mark | 0x60000000
		fib saddr . mark . iif oif missing goto spoofed
		update @arrived { iifname }
		ip saddr @hosts4_in
		ip6 saddr @hosts6_in
		goto reroute
	}
	chain peers {
		ct direction original ct status dnat goto reroute
		ip daddr @local4 goto untunneled
		ip6 daddr @local6 goto untunneled
		goto reroute
	}
	chain judged {
		meta mark & 0x60000000 == 0x40000000 fib daddr type local meta mark set meta mark & 0x9fffffff | 0x00000000
		ip saddr @nodes4 goto peers
		ip6 saddr @nodes6 goto peers
		meta mark & 0x60000000 == 0x60000000 goto reroute
	}
	chain arrivals {
		type filter hook prerouting priority 1000; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto delivered
		iifname "wg-cni-b" goto delivered
		goto judged
	}`;
  expect(chains(arrival(firewallTable(firewall)))).toEqual(wanted.split("\n").slice(1));
});

test("strict: drop it, and what claims an address that its interface does not lead to", () => {
  const wanted = `
	chain spoofed {
		update @spoofed { iifname }
		drop
	}
	chain elsewhere {
		fib saddr . mark . iif oif missing goto spoofed
		update @arrived { iifname }
		ip saddr @hosts4_in drop
		ip6 saddr @hosts6_in drop
	}
	chain hosts {
		iifname "eth0" accept
		fib saddr . mark . iif oif missing goto spoofed
	}
	chain nodes {
		fib daddr type local goto hosts
		meta mark set meta mark | 0x60000000
		fib daddr type unicast goto elsewhere
		fib daddr type blackhole goto elsewhere
		fib daddr type unreachable goto elsewhere
		fib daddr type prohibit goto elsewhere
		goto hosts
	}
	chain locals {
		iifname "eth0" goto spoofed
		fib saddr . iif oif exists accept
		fib saddr oifname "eth0" accept
		fib saddr oifname "cilium_host" accept
		goto spoofed
	}
	chain other_sources {
		ip saddr @nodes4 goto nodes
		ip6 saddr @nodes6 goto nodes
		ip saddr @local4 goto locals
		ip6 saddr @local6 goto locals
		fib saddr type local fib saddr . iif oif missing goto spoofed
	}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto received
		iifname "wg-cni-b" goto received
		ip saddr != @pods4_in goto other_sources
		ip6 saddr != @pods6_in goto other_sources
		meta mark set meta mark | 0x60000000
		udp dport 51820 @th,64,32 & 0xf8ffffff == 0x0 fib daddr type local accept
		udp dport 51821 @th,64,32 & 0xf8ffffff == 0x0 fib daddr type local accept
		fib saddr . mark . iif oif missing goto spoofed
		update @arrived { iifname }
		ip saddr @pods4_in drop
		ip6 saddr @pods6_in drop
	}
	chain untunneled {
		meta mark set meta mark | 0x60000000
		fib saddr . mark . iif oif missing goto spoofed
		update @arrived { iifname }
		ip saddr @hosts4_in drop
		ip6 saddr @hosts6_in drop
	}
	chain peers {
		ct direction original ct status dnat goto reroute
		ip daddr @local4 goto untunneled
		ip6 daddr @local6 goto untunneled
		fib daddr type unicast goto untunneled
		goto reroute
	}
	chain linked {
		fib saddr oifname "cilium_host" accept
		fib saddr . iif oif missing goto spoofed
	}
	chain unannounced {
		iifname "eth0" accept
		ip saddr @local4 accept
		ip6 saddr @local6 accept
		ip daddr @nodes4 goto linked
		ip6 daddr @nodes6 goto linked
		ip daddr != @pods4_out accept
		ip6 daddr != @pods6_out accept
		goto linked
	}
	chain judged {
		meta mark & 0x60000000 == 0x40000000 fib daddr type local meta mark set meta mark & 0x9fffffff | 0x00000000
		ip saddr @nodes4 goto peers
		ip6 saddr @nodes6 goto peers
		meta mark & 0x60000000 == 0x60000000 goto reroute
		goto unannounced
	}
	chain refused {
		fib daddr type local ct direction reply meta mark set meta mark | 0x60000000 goto judged
		update @unknown_sources { iifname }
		drop
	}
	chain unknown_sources {
		iifname "eth0" goto refused
		fib saddr oifname "eth0" goto refused
		goto judged
	}
	chain arrivals {
		type filter hook prerouting priority 1000; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" goto delivered
		iifname "wg-cni-b" goto delivered
		ip saddr @cluster4 ip saddr != @local4 goto unknown_sources
		ip6 saddr @cluster6 ip6 saddr != @local6 goto unknown_sources
		goto judged
	}`;
  const strict = arrival(firewallTable({ ...firewall, strict: true }));
  expect(chains(chainsBeside(firewallTable(firewall), strict))).toEqual(wanted.split("\n").slice(1));
  expect(chainNames(strict)).toEqual([...arrivalChains]);
});

describe("if each pod is announced by itself", () => {
  const announced = { ...firewall, podsAreAnnounced: true };

  test("permissive: a source that the peers do not know stays outside", () => {
    const { chains: all, ...table } = firewallTable(announced);
    const own = all.filter(({ name }) => !chainNames(firewallTable(firewall)).includes(name));
    const wanted = `
	chain outside {
		meta mark set meta mark | 0x60000000
	}
	chain diverted {
		meta mark set meta mark & 0xdfffffff | 0x40000000
		fib daddr . mark oifname "wg-cni-a" goto outside
		fib daddr . mark oifname "wg-cni-b" goto outside
		meta mark set meta mark & 0x9fffffff | 0x00000000
	}
	chain linked {
		fib saddr oifname "cilium_host" goto diverted
		fib saddr . iif oif missing goto spoofed
		goto diverted
	}
	chain unannounced {
		iifname "eth0" accept
		ip saddr @local4 accept
		ip6 saddr @local6 accept
		ip daddr @nodes4 goto linked
		ip6 daddr @nodes6 goto linked
		ip daddr != @pods4_out accept
		ip6 daddr != @pods6_out accept
		goto linked
	}`;
    expect(chains({ ...table, chains: own })).toEqual(wanted.split("\n").slice(1));
    const judged = all.find(({ name }) => name === "judged")?.rules ?? [];
    expect(judged.slice(-1).map(formatNftRule)).toEqual(["goto unannounced"]);
  });

  test("strict: it is dropped in postrouting like any other that the tunnel cannot take", () => {
    const strict = (firewall: Firewall) => firewallTable({ ...firewall, strict: true });
    expect(strict(announced)).toEqual(strict(firewall));
  });
});
