// Host encryption changes the firewall's tables.
import { describe, expect, test } from "bun:test";
import type { NftTable } from "../../../src/net/nftables.ts";
import { formatNftRule, formatNftTable } from "../../../src/net/nftables-text.ts";
import type { Firewall } from "../../../src/plan/firewall/sets.ts";
import { firewallTable, firewallTables } from "../../../src/plan/firewall/table.ts";
import { chains, encrypting, firewall } from "./firewalls.ts";

/** Returns the rules that host encryption adds to a chain, and those that it removes. */
function changed(chain: string, { strict }: { strict: boolean }): { added: string[]; gone: string[] } {
  const rules = (firewall: Firewall) =>
    firewallTable({ ...firewall, strict })
      .chains.find(({ name }) => name === chain)
      ?.rules.map(formatNftRule) ?? [];
  const [before, after] = [rules(firewall), rules(encrypting)];
  return {
    added: after.filter((rule) => !before.includes(rule)),
    gone: before.filter((rule) => !after.includes(rule)),
  };
}

describe("with host encryption", () => {
  const outside = "meta mark set meta mark & 0xbfffffff | 0x20000000";
  const arrived = "meta mark set meta mark | 0x60000000";

  test("the exempt is marked in both directions, and only between nodes", () => {
    const wanted = `
	chain exempt {
		ip daddr 192.0.2.2 ${outside}
		ip saddr 192.0.2.2 ${outside}
		ip6 daddr 2001:db8::3 ${outside}
		ip6 saddr 2001:db8::3 ${outside}
		ip daddr 192.0.2.1 tcp dport 6443 ${outside}
		ip saddr 192.0.2.1 tcp sport 6443 ${outside}
		ip6 daddr 2001:db8::2 tcp dport 6443 ${outside}
		ip6 saddr 2001:db8::2 tcp sport 6443 ${outside}
		udp dport 4789 ${outside}
		udp sport 4789 ${outside}
	}
	chain output {
		type route hook output priority -50; policy accept;
		ip saddr @local4 accept
		ip daddr @nodes4 goto exempt
		ip6 saddr @local6 accept
		ip6 daddr @nodes6 goto exempt
	}`;
    const { chains: all, ...table } = firewallTable(encrypting);
    const own = all.filter(({ name }) => ["exempt", "output"].includes(name));
    expect(chains({ ...table, chains: own })).toEqual(wanted.split("\n").slice(1));
  });

  test("what looks encrypted, or like a port check, keeps the mark that it came with to other nodes, and nothing else does", () => {
    const none = "meta mark set meta mark & 0x9fffffff | 0x00000000";
    const wanted = `
	chain marked {
		type route hook output priority raw; policy accept;
		meta mark & 0x60000000 == 0x00000000 accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp dport 51820 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp dport 51821 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 ip daddr @nodes4 ${none}
		meta mark & 0x60000000 == 0x60000000 ip daddr @nodes4 ${none}
		meta mark & 0x60000000 == 0x20000000 ip6 daddr @nodes6 ${none}
		meta mark & 0x60000000 == 0x60000000 ip6 daddr @nodes6 ${none}
	}
	chain translated {
		type route hook output priority -60; policy accept;
		meta mark & 0x60000000 == 0x00000000 accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51820 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp sport 51821 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp dport 51820 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 udp dport 51821 @th,64,32 & 0xf8ffffff == 0x0 accept
		meta mark & 0x60000000 == 0x20000000 ct status dnat ip saddr @own4 ip daddr @nodes4 ${none}
		meta mark & 0x60000000 == 0x60000000 ct status dnat ip saddr @own4 ip daddr @nodes4 ${none}
		meta mark & 0x60000000 == 0x20000000 ct status dnat ip6 saddr @own6 ip6 daddr @nodes6 ${none}
		meta mark & 0x60000000 == 0x60000000 ct status dnat ip6 saddr @own6 ip6 daddr @nodes6 ${none}
	}`;
    for (const strict of [false, true]) {
      const { chains: all, ...table } = firewallTable({ ...encrypting, strict });
      const marked = all.filter(({ name }) => ["marked", "translated"].includes(name));
      expect(chains({ ...table, chains: marked })).toEqual(wanted.split("\n").slice(1));
    }
  });

  test("the nodes' ARP is marked", () => {
    const [, arp, ...more] = firewallTables(encrypting);
    expect([firewallTables(firewall), more]).toEqual([[firewallTable(firewall)], []]);
    expect(formatNftTable(arp as NftTable)).toBe(`table arp wg-cni {
	set nodes4 {
		type ipv4_addr
		elements = { 192.0.2.2 }
	}
	chain input {
		type filter hook input priority filter; policy accept;
		arp saddr ip @nodes4 ${arrived}
	}
}
`);
  });

  test("what comes from other nodes is marked wherever it goes", () => {
    for (const [strict, then] of [
      [false, "accept"],
      [true, "goto hosts"],
    ] as const) {
      const { chains: all } = firewallTable({ ...encrypting, strict });
      const nodes = all.find(({ name }) => name === "nodes")?.rules.map(formatNftRule) ?? [];
      expect(nodes.slice(0, 2)).toEqual([arrived, `fib daddr type local ${then}`]);
    }
  });

  test("what this node sends to peers from an address that they do not know is marked, in strict mode too", () => {
    expect(changed("foreign", { strict: false })).toEqual({ added: [], gone: [] });
    const { chains: all, ...table } = firewallTable({ ...encrypting, strict: true });
    expect(chains({ ...table, chains: all.filter(({ name }) => name === "foreign") })).toEqual(
      `
	chain foreign {
		type route hook output priority mangle; policy accept;
		ip saddr @own4 accept
		ip saddr @local4 accept
		ip6 saddr @own6 accept
		ip6 saddr @local6 accept
		ip daddr @nodes4 ${outside}
		ip6 daddr @nodes6 ${outside}
	}`
        .split("\n")
        .slice(1),
    );
    expect(changed("known", { strict: true })).toEqual({ added: [], gone: [] });
    expect(changed("tunneled", { strict: true })).toEqual({ added: [], gone: [] });
  });

  test("nothing else changes, and without anything exempt there is nothing to route again", () => {
    for (const strict of [false, true]) {
      expect(changed("postrouting", { strict })).toEqual({ added: [], gone: [] });
      for (const chain of [
        "prerouting",
        "other_sources",
        "arrivals",
        "judged",
        "reroute",
        "passing",
        "forward",
        "answers",
      ])
        expect(changed(chain, { strict })).toEqual({ added: [], gone: [] });
    }
    expect(firewallTable(encrypting).sets).toEqual(firewallTable(firewall).sets);
    const names = (firewall: Firewall) => firewallTable(firewall).chains.map(({ name }) => name);
    expect(
      names({ ...encrypting, exempt: [] }).filter((name) => !["marked", "translated"].includes(name)),
    ).toEqual(names(firewall));
    // Without host encryption all of this node's packets to others are outside already.
    expect(firewallTable({ ...encrypting, hostEncryption: false })).toEqual(firewallTable(firewall));
  });
});
