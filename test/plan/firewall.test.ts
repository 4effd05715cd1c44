// The table that a firewall becomes, as nft(8) would list it. That nft understands
// the same is tested with nft itself (test/kernel/nftables.test.ts).
import { describe, expect, test } from "bun:test";
import type { NftTable } from "../../src/net/nftables.ts";
import { formatNftRule, formatNftTable } from "../../src/net/nftables-text.ts";
import { firewallTable, firewallTables, sumByPeer } from "../../src/plan/firewall.ts";
import { type Firewall, podSets } from "../../src/plan/firewall-sets.ts";
import { encrypting, firewall } from "./firewalls.ts";

/** The chains of a table as text, one rule a line. */
function chains(table: NftTable): string[] {
  const text = formatNftTable({ ...table, sets: [] });
  return text.split("\n").slice(1, -2);
}

const clamping = `
	chain clamp {
		tcp flags syn tcp option maxseg size set rt mtu
	}`;

const forward = `
	chain forward {
		type filter hook forward priority mangle; policy accept;
		iifname "wg-cni-a" goto clamp
		iifname "wg-cni-b" goto clamp
	}`;

test("permissive: count, and mark what arrives in clear and what the tunnel cannot take", () => {
  const wanted = `${clamping}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" accept
		iifname "wg-cni-b" accept
		ip saddr @pods4_in meta mark set meta mark | 0x00100000
		ip6 saddr @pods6_in meta mark set meta mark | 0x00100000
		ip saddr @nodes4 fib daddr type != local meta mark set meta mark | 0x00100000
		ip6 saddr @nodes6 fib daddr type != local meta mark set meta mark | 0x00100000
	}${forward}
	chain postrouting {
		type filter hook postrouting priority raw; policy accept;
		oif "lo" accept
		oifname "wg-cni-a" goto clamp
		oifname "wg-cni-b" goto clamp
		meta mark & 0x00100000 == 0x00100000 accept
		ip daddr @pods4_out
		ip6 daddr @pods6_out
	}
	chain foreign {
		type route hook output priority mangle; policy accept;
		ip saddr @own4 accept
		ip saddr @local4 accept
		ip daddr @pods4_out meta mark set meta mark | 0x00100000
		ip6 saddr @own6 accept
		ip6 saddr @local6 accept
		ip6 daddr @pods6_out meta mark set meta mark | 0x00100000
	}`;
  expect(chains(firewallTable(firewall))).toEqual(wanted.split("\n").slice(1));
});

test("strict: drop what is counted, and what the tunnel cannot take", () => {
  const wanted = `${clamping}
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iif "lo" accept
		iifname "wg-cni-a" accept
		iifname "wg-cni-b" accept
		ip saddr @pods4_in drop
		ip6 saddr @pods6_in drop
	}${forward}
	chain postrouting {
		type filter hook postrouting priority raw; policy accept;
		oif "lo" accept
		oifname "wg-cni-a" goto clamp
		oifname "wg-cni-b" goto clamp
		meta mark & 0x00100000 == 0x00100000 accept
		ip daddr @pods4_out drop
		ip6 daddr @pods6_out drop
	}
	chain known {
		ip saddr @local4 accept
		ip saddr @own4 accept
		ip daddr @pods4_out drop
		ip6 saddr @local6 accept
		ip6 saddr @own6 accept
		ip6 daddr @pods6_out drop
	}
	chain tunneled {
		type filter hook postrouting priority 200; policy accept;
		oifname "wg-cni-a" goto known
		oifname "wg-cni-b" goto known
	}`;
  expect(chains(firewallTable({ ...firewall, strict: true }))).toEqual(wanted.split("\n").slice(1));
});

/** What host encryption adds to a chain, and what it leaves out of it. */
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
  const marked = "meta mark set meta mark | 0x00100000";

  test("the exempt is marked in both directions, and only between nodes", () => {
    const wanted = `${clamping}
	chain exempt {
		ip daddr 192.0.2.2 ${marked}
		ip saddr 192.0.2.2 ${marked}
		ip6 daddr 2001:db8::3 ${marked}
		ip6 saddr 2001:db8::3 ${marked}
		ip daddr 192.0.2.1 tcp dport 6443 ${marked}
		ip saddr 192.0.2.1 tcp sport 6443 ${marked}
		ip6 daddr 2001:db8::2 tcp dport 6443 ${marked}
		ip6 saddr 2001:db8::2 tcp sport 6443 ${marked}
		udp dport 4789 ${marked}
		udp sport 4789 ${marked}
	}
	chain output {
		type route hook output priority -50; policy accept;
		ip saddr @local4 accept
		ip daddr @nodes4 goto exempt
		ip6 saddr @local6 accept
		ip6 daddr @nodes6 goto exempt
	}`;
    const { chains: all, ...table } = firewallTable(encrypting);
    const own = all.filter(({ name }) => ["clamp", "exempt", "output"].includes(name));
    expect(chains({ ...table, chains: own })).toEqual(wanted.split("\n").slice(1));
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
		arp saddr ip @nodes4 ${marked}
	}
}
`);
  });

  test("what comes from other nodes is marked wherever it goes; in strict mode not what is forwarded", () => {
    expect(changed("prerouting", { strict: false })).toEqual({
      added: [`ip saddr @nodes4 ${marked}`, `ip6 saddr @nodes6 ${marked}`],
      gone: [
        `ip saddr @nodes4 fib daddr type != local ${marked}`,
        `ip6 saddr @nodes6 fib daddr type != local ${marked}`,
      ],
    });
    expect(changed("prerouting", { strict: true })).toEqual({
      added: [
        `ip saddr @nodes4 fib daddr type != unicast ${marked}`,
        `ip6 saddr @nodes6 fib daddr type != unicast ${marked}`,
      ],
      gone: [],
    });
  });

  test("what this node sends to others from an address that they do not know is marked, in strict mode too", () => {
    const marks = (set: string) => [
      `ip daddr @${set.replace("*", "4")} ${marked}`,
      `ip6 daddr @${set.replace("*", "6")} ${marked}`,
    ];
    expect(changed("foreign", { strict: false })).toEqual({ added: marks("nodes*"), gone: [] });
    const { chains: all, ...table } = firewallTable({ ...encrypting, strict: true });
    expect(chains({ ...table, chains: all.filter(({ name }) => name === "foreign") })).toEqual(
      `
	chain foreign {
		type route hook output priority mangle; policy accept;
		ip saddr @own4 accept
		ip saddr @local4 accept
		ip daddr @nodes4 ${marked}
		ip6 saddr @own6 accept
		ip6 saddr @local6 accept
		ip6 daddr @nodes6 ${marked}
	}`
        .split("\n")
        .slice(1),
    );
    expect(changed("known", { strict: true })).toEqual({ added: [], gone: [] });
    expect(changed("tunneled", { strict: true })).toEqual({ added: [], gone: [] });
  });

  test("what came marked and goes on to remote pods is counted, and dropped in strict mode", () => {
    for (const [strict, verdict] of [
      [false, ""],
      [true, " drop"],
    ] as const)
      expect(changed("forward", { strict })).toEqual({
        added: [
          `meta mark & 0x00100000 == 0x00100000 ip daddr @pods4_out${verdict}`,
          `meta mark & 0x00100000 == 0x00100000 ip6 daddr @pods6_out${verdict}`,
        ],
        gone: [],
      });
  });

  test("nothing else changes, and without anything exempt there is nothing to route again", () => {
    for (const strict of [false, true]) {
      expect(changed("postrouting", { strict })).toEqual({ added: [], gone: [] });
      expect(changed("clamp", { strict })).toEqual({ added: [], gone: [] });
    }
    expect(firewallTable(encrypting).sets).toEqual(firewallTable(firewall).sets);
    const names = (firewall: Firewall) => firewallTable(firewall).chains.map(({ name }) => name);
    expect(names({ ...encrypting, exempt: [] })).toEqual(names(firewall));
    // Without host encryption all of this node's packets to others are outside already.
    expect(firewallTable({ ...encrypting, hostEncryption: false })).toEqual(firewallTable(firewall));
  });
});

test("the sets hold each family's prefixes twice, once for each direction, and this node's own pods once", () => {
  const { sets } = firewallTable(firewall);
  expect(sets.map(({ name, elements }) => [name, ...elements])).toEqual([
    ["pods4_in", "10.2.0.0/24", "10.9.0.7/32"],
    ["pods4_out", "10.2.0.0/24", "10.9.0.7/32"],
    ["nodes4", "192.0.2.2"],
    ["own4", "192.0.2.1"],
    ["local4", "10.1.0.0/24", "10.1.1.0/24"],
    ["pods6_in", "fd00:2::/64"],
    ["pods6_out", "fd00:2::/64"],
    ["nodes6", "2001:db8::2"],
    ["own6", "2001:db8::1"],
    ["local6", "fd00:1::/64"],
  ]);
  expect(podSets.map(({ name }) => name).sort()).toEqual(
    sets.flatMap(({ name, counter }) => (counter ? [name] : [])).sort(),
  );
});

test("counters of a peer's prefixes add up; a peer without any has 0", () => {
  const counters = new Map([
    ["10.2.0.0/24", { packets: 3, bytes: 300 }],
    ["fd00:2::/64", { packets: 1, bytes: 60 }],
  ]);
  expect(sumByPeer(firewall.pods, counters)).toEqual(
    new Map([
      ["n2", { packets: 4, bytes: 360 }],
      ["n3", { packets: 0, bytes: 0 }],
    ]),
  );
});
