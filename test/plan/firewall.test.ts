// The table that a firewall becomes, as nft(8) would list it, and the commands
// that lead from one to another. That nft understands both the same is tested
// with nft itself (test/kernel/nftables.test.ts).
import { describe, expect, test } from "bun:test";
import type { NftCommand, NftTable } from "../../src/net/nftables.ts";
import { diffNftTables } from "../../src/net/nftables-diff.ts";
import { formatNftCommand, formatNftTable } from "../../src/net/nftables-text.ts";
import { type Firewall, firewallTable, podSets, sumByPeer } from "../../src/plan/firewall.ts";
import { random } from "../wire/bytes.ts";

const firewall: Firewall = {
  table: "wg-cni",
  devices: ["wg-cni-a", "wg-cni-b"],
  mark: { mark: 0x100000, mask: 0x100000 },
  strict: false,
  pods: [
    { prefix: "10.2.0.0/24", peer: "n2" },
    { prefix: "fd00:2::/64", peer: "n2" },
    { prefix: "10.9.0.7/32", peer: "n3" },
  ],
  nodes: ["192.0.2.2", "2001:db8::2"],
};

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

test("permissive: count, and mark what arrives in clear", () => {
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
	}`;
  expect(chains(firewallTable(firewall))).toEqual(wanted.split("\n").slice(1));
});

test("strict: drop what is counted", () => {
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
	}`;
  expect(chains(firewallTable({ ...firewall, strict: true }))).toEqual(wanted.split("\n").slice(1));
});

test("the sets hold each family's prefixes twice, once for each direction", () => {
  const { sets } = firewallTable(firewall);
  expect(sets.map(({ name, elements }) => [name, ...elements])).toEqual([
    ["pods4_in", "10.2.0.0/24", "10.9.0.7/32"],
    ["pods4_out", "10.2.0.0/24", "10.9.0.7/32"],
    ["nodes4", "192.0.2.2"],
    ["pods6_in", "fd00:2::/64"],
    ["pods6_out", "fd00:2::/64"],
    ["nodes6", "2001:db8::2"],
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

describe("the difference of two tables", () => {
  test("is nothing where they say the same, in whatever order sets and chains stand", () => {
    const table = firewallTable(firewall);
    expect(diffNftTables(table, table)).toEqual([]);
    const turned = { ...table, sets: [...table.sets].reverse(), chains: [...table.chains].reverse() };
    expect(diffNftTables(table, turned)).toEqual([]);
  });

  test("is the whole table where something is in it that cannot become part of it", () => {
    const table = firewallTable(firewall);
    const whole = diffNftTables(table, undefined).map(formatNftCommand);
    expect(whole[0]).toBe("add table inet wg-cni");
    const anew = ["delete table inet wg-cni", ...whole];
    const stray = { name: "stray", rules: [] };
    const [first, ...others] = table.sets;
    const uncounted = { ...first, counter: false } as NftTable["sets"][number];
    for (const observed of [
      { ...table, foreign: ["flags dormant"] },
      { ...table, chains: [...table.chains, stray] },
      { ...table, sets: [uncounted, ...others] },
    ])
      expect(diffNftTables(table, observed).map(formatNftCommand)).toEqual(anew);
  });

  test("leads from any table to any other", () => {
    const below = random(7);
    let observed: NftTable | undefined;
    for (let round = 0; round < 200; round++) {
      const pods = ["10.1.0.0/24", "10.2.0.0/24", "fd00:1::/64", "fd00:2::/64"].filter(() => below(2) === 0);
      const wanted = firewallTable({
        ...{ ...firewall, strict: below(2) === 0, devices: firewall.devices.slice(below(3)) },
        ...{ pods: pods.map((prefix) => ({ prefix, peer: "n" })), nodes: firewall.nodes.slice(below(3)) },
      });
      observed = below(8) === 0 ? undefined : observed;
      observed = diffNftTables(wanted, observed).reduce(carryOut, observed);
      expect(diffNftTables(wanted, observed)).toEqual([]);
      if (observed !== undefined) expect(plain(observed)).toEqual(plain(wanted));
    }
  });
});

function plain(table: NftTable): string[] {
  return formatNftTable({
    ...table,
    sets: table.sets.map((set) => ({ ...set, elements: new Set([...set.elements].sort()) })),
  }).split("\n");
}

/** What the kernel makes of a command. */
function carryOut(table: NftTable | undefined, command: NftCommand): NftTable | undefined {
  if (command.do === "addTable") return { name: command.table, sets: [], chains: [], foreign: [] };
  if (command.do === "deleteTable" || table === undefined) return undefined;
  switch (command.do) {
    case "addSet":
      return { ...table, sets: [...table.sets, { ...command.set, elements: new Set() }] };
    case "addElements":
    case "deleteElements": {
      const sets = table.sets.map((set) => {
        if (set.name !== command.set.name) return set;
        const elements = new Set(set.elements);
        for (const element of command.elements)
          if (command.do === "addElements") elements.add(element);
          else expect(elements.delete(element)).toBe(true);
        return { ...set, elements };
      });
      return { ...table, sets };
    }
    case "addChain":
      return { ...table, chains: [...table.chains, { ...command.chain, rules: [] }] };
    case "flushChain":
    case "addRule": {
      const chains = table.chains.map((chain) => {
        if (chain.name !== command.chain) return chain;
        return { ...chain, rules: command.do === "addRule" ? [...chain.rules, command.rule] : [] };
      });
      return { ...table, chains };
    }
  }
}
