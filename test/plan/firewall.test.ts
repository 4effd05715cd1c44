// The table that a firewall becomes, as nft(8) would list it, and the commands
// that lead from one to another. That nft understands both the same is tested
// with nft itself (test/kernel/nftables.test.ts).
import { describe, expect, test } from "bun:test";
import { parseExemption } from "../../src/net/exemption.ts";
import type { NftCommand, NftTable } from "../../src/net/nftables.ts";
import { diffNftTables } from "../../src/net/nftables-diff.ts";
import { formatNftCommand, formatNftRule, formatNftTable } from "../../src/net/nftables-text.ts";
import { type Firewall, firewallTable, firewallTables, podSets, sumByPeer } from "../../src/plan/firewall.ts";
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
  hostEncryption: false,
  exempt: [],
  localPods: [],
};

const encrypting: Firewall = {
  ...firewall,
  hostEncryption: true,
  exempt: ["192.0.2.2", "2001:db8::3", "192.0.2.1:6443", "[2001:db8::2]:6443", "udp/4789"].map(
    parseExemption,
  ),
  localPods: ["10.1.0.128/25", "10.1.0.0/24", "10.1.1.0/24", "fd00:1::/64"],
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

  test("the node's own pods are known once, wherever they were said twice", () => {
    const elements = (name: string) =>
      firewallTable(encrypting).sets.find((set) => set.name === name)?.elements;
    expect([...(elements("local4") ?? [])]).toEqual(["10.1.0.0/24", "10.1.1.0/24"]);
    expect([...(elements("local6") ?? [])]).toEqual(["fd00:1::/64"]);
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
    const { sets } = firewallTable(encrypting);
    expect(sets.slice(0, -2)).toEqual([...firewallTable(firewall).sets]);
    const names = (firewall: Firewall) => firewallTable(firewall).chains.map(({ name }) => name);
    expect(names({ ...encrypting, exempt: [] })).toEqual(names(firewall));
    // Without host encryption all of this node's packets to others are outside already.
    expect(firewallTable({ ...encrypting, hostEncryption: false })).toEqual(firewallTable(firewall));
  });
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
    const [first, ...others] = table.sets;
    const uncounted = { ...first, counter: false } as NftTable["sets"][number];
    for (const observed of [
      { ...table, foreign: ["flags dormant"] },
      { ...table, sets: [uncounted, ...others] },
    ])
      expect(diffNftTables(table, observed).map(formatNftCommand)).toEqual(anew);
    const exempting = firewallTable(encrypting);
    for (const change of [
      { type: "filter" },
      { hook: "input" },
      { priority: 0 },
      { policy: "drop" },
    ] as const) {
      const chains = exempting.chains.map((chain) =>
        chain.name === "output" && chain.base ? { ...chain, base: { ...chain.base, ...change } } : chain,
      );
      expect(diffNftTables(exempting, { ...exempting, chains })[0]?.do).toBe("deleteTable");
    }
  });

  test("is the sets and chains that come and go, where the rest is right and goes on counting", () => {
    const [without, exempting] = [firewallTable(firewall), firewallTable(encrypting)];
    const commands = diffNftTables(without, exempting).map(formatNftCommand);
    const declarations = commands.filter((command) => !command.startsWith("add rule"));
    expect(declarations).toEqual([
      "flush chain inet wg-cni prerouting",
      "flush chain inet wg-cni forward",
      "flush chain inet wg-cni exempt",
      "flush chain inet wg-cni output",
      "delete chain inet wg-cni exempt",
      "delete chain inet wg-cni output",
      "delete set inet wg-cni local4",
      "delete set inet wg-cni local6",
    ]);
    expect(diffNftTables(exempting, without).map(formatNftCommand)).toContain(
      "add chain inet wg-cni output { type route hook output priority -50; policy accept; }",
    );
    const stray = { name: "stray", rules: [] };
    const observed = { ...without, chains: [...without.chains, stray] };
    expect(diffNftTables(without, observed).map(formatNftCommand)).toEqual([
      "delete chain inet wg-cni stray",
    ]);
  });

  test("leads from any table to any other", () => {
    const below = random(7);
    let observed: NftTable | undefined;
    for (let round = 0; round < 200; round++) {
      const pods = ["10.1.0.0/24", "10.2.0.0/24", "fd00:1::/64", "fd00:2::/64"].filter(() => below(2) === 0);
      const wanted = firewallTable({
        ...{ ...firewall, strict: below(2) === 0, devices: firewall.devices.slice(below(3)) },
        ...{ pods: pods.map((prefix) => ({ prefix, peer: "n" })), nodes: firewall.nodes.slice(below(3)) },
        ...{ hostEncryption: below(2) === 0, exempt: encrypting.exempt.slice(below(5)) },
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
  if (command.do === "addTable") return { ...command.table, sets: [], chains: [], foreign: [] };
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
    case "deleteSet":
      expect(JSON.stringify(table.chains)).not.toContain(`"set":"${command.set}"`);
      return { ...table, sets: table.sets.filter(({ name }) => name !== command.set) };
    case "deleteChain": {
      const isEmpty = table.chains.some(({ name, rules }) => name === command.chain && rules.length === 0);
      const isUsed = table.chains.some(({ rules }) =>
        rules.some((rule) => rule.some((part) => part.kind === "goto" && part.chain === command.chain)),
      );
      expect([isEmpty, isUsed]).toEqual([true, false]);
      return { ...table, chains: table.chains.filter(({ name }) => name !== command.chain) };
    }
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
