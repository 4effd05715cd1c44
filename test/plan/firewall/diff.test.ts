// The commands that lead from one table of a firewall to another. That nft
// understands the same is tested with nft itself (test/kernel/nftables/tables.test.ts).
import { describe, expect, test } from "bun:test";
import type { NftCommand, NftTable } from "../../../src/net/nftables.ts";
import { diffNftTables, splitTransactions, withAdditions } from "../../../src/net/nftables-diff.ts";
import { formatNftCommand, formatNftTable } from "../../../src/net/nftables-text.ts";
import { firewallTable } from "../../../src/plan/firewall/table.ts";
import { random } from "../../wire/random.ts";
import { encrypting, firewall } from "./firewalls.ts";

describe("the difference of two tables", () => {
  test("is nothing if they say the same, in whatever order sets and chains stand", () => {
    const table = firewallTable(firewall);
    expect(diffNftTables(table, table)).toEqual([]);
    const turned = { ...table, sets: [...table.sets].reverse(), chains: [...table.chains].reverse() };
    expect(diffNftTables(table, turned)).toEqual([]);
  });

  test("is the whole table if something is in it that cannot become part of it", () => {
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

  test("has what is only added before all rules, and in a transaction before theirs", () => {
    const table = firewallTable(firewall);
    const isRule = ({ do: deed }: NftCommand) => deed === "addRule";
    const [objects, rules, ...more] = splitTransactions(diffNftTables(table, undefined));
    expect(more).toEqual([]);
    expect(objects?.some(isRule)).toBe(false);
    expect(rules?.some(isRule)).toBe(true);
    expect(rules?.some(({ do: deed }) => deed === "addElements")).toBe(false);
    const { family, name } = table;
    const made = withAdditions({ family, name, sets: [], chains: [], foreign: [] }, objects ?? []);
    expect(made).toEqual({ ...table, chains: [] });
  });

  test("is one transaction if only elements change, no element comes, or the table is made anew", () => {
    const [table, other] = [firewallTable(firewall), firewallTable(encrypting)];
    const emptied = { ...table, sets: table.sets.map((set) => ({ ...set, elements: new Set<string>() })) };
    for (const commands of [
      diffNftTables(table, emptied),
      diffNftTables(emptied, table),
      diffNftTables({ ...other, sets: table.sets }, table),
      diffNftTables(table, { ...table, foreign: ["flags dormant"] }),
    ]) {
      expect(commands.length).toBeGreaterThan(0);
      expect(splitTransactions(commands)).toEqual([commands]);
    }
  });

  test("is the chains that come and go, if the rest is right, which goes on counting", () => {
    const [without, exempting] = [firewallTable(firewall), firewallTable(encrypting)];
    const commands = diffNftTables(without, exempting).map(formatNftCommand);
    const declarations = commands.filter((command) => !command.startsWith("add rule"));
    expect(declarations).toEqual([
      "flush chain inet wg-cni nodes",
      "flush chain inet wg-cni exempt",
      "flush chain inet wg-cni output",
      "flush chain inet wg-cni marked",
      "flush chain inet wg-cni translated",
      "delete chain inet wg-cni exempt",
      "delete chain inet wg-cni output",
      "delete chain inet wg-cni marked",
      "delete chain inet wg-cni translated",
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
        ...{ pods, nodes: firewall.nodes.slice(below(3)) },
        ...{ own: firewall.own.slice(below(3)), localPods: firewall.localPods.slice(below(5)) },
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
    // In which order they were made says nothing.
    chains: [...table.chains].sort((a, b) => (a.name < b.name ? -1 : 1)),
  }).split("\n");
}

/** Applies a command as the kernel does. */
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
