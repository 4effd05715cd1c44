// Tables of nftables against the running kernel, with nft(8) as the witness of
// what is there, and of what our text means.
import { afterAll, describe, expect, test } from "bun:test";
import type { NftTable } from "../../../src/net/nftables.ts";
import { formatNftCommand, formatNftTable, formatNftTableName } from "../../../src/net/nftables-text.ts";
import { commandRequests } from "../../../src/netlink/nft/objects.ts";
import { Nft } from "../../../src/netlink/nft/table.ts";
import { NftTransactions } from "../../../src/netlink/nft/transaction.ts";
import { firewallTable, firewallTables } from "../../../src/plan/firewall/table.ts";
import { waitUntil } from "../../lab/wait.ts";
import { random } from "../../wire/random.ts";
import { describeKernel, Namespace, removeNamespaces } from "../support/namespaces.ts";

import {
  encrypting,
  firewall,
  list,
  load,
  nft,
  noNft,
  ourTable,
  permissive,
  read,
  strict,
} from "../support/nft.ts";

afterAll(removeNamespaces);

const t = { family: "inet", name: "t" } as const;

/** The table with its chains by name: in which order they were made says nothing. */
const inOrder = (table: NftTable | undefined) => ({
  ...table,
  chains: [...(table?.chains ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1)),
});

describeKernel(
  "a table of nftables",
  () => {
    test.each([
      ["permissive", permissive],
      ["strict", strict],
      ["with each pod announced", firewallTable({ ...firewall, podsAreAnnounced: true })],
      ["without connection tracking", firewallTable({ ...firewall, connections: false })],
      ["with host encryption", firewallTable(encrypting)],
      ["strict with host encryption", firewallTable({ ...encrypting, strict: true })],
      ["of the arp family", firewallTables(encrypting)[1] as NftTable],
      [
        "with other bits as its mark",
        firewallTable({ ...firewall, mark: { mark: 0x200000, mask: 0x300000 } }),
      ],
      ["without a peer yet", firewallTable({ ...firewall, pods: [], nodes: [] })],
    ])("%s: nft lists what it makes of our text, and of our commands", (_name, wanted) => {
      const [ours, byText, byCommands] = [new Namespace(), new Namespace(), new Namespace()];
      using nftables = Nft.open(ours.path);
      const commands = nftables.sync(wanted);
      load(byText, formatNftTable(wanted));
      load(byCommands, commands.map(formatNftCommand).join("\n"));
      expect(list(ours)).toContain(`table ${formatNftTableName(wanted)} {`);
      expect(list(byText)).toBe(list(ours));
      expect(list(byCommands)).toBe(list(ours));
      expect(read(ours, wanted)).toEqual(wanted);
      expect(read(byText, wanted)).toEqual(wanted);
      expect(nftables.sync(wanted)).toEqual([]);
    });

    test("a second time writes nothing, and nft monitor stays silent", async () => {
      const namespace = new Namespace();
      using first = Nft.open(namespace.path);
      expect(first.sync(permissive).length).toBeGreaterThan(20);
      const monitor = Bun.spawn(["ip", "netns", "exec", namespace.name, "nft", "monitor"], {
        stdout: "pipe",
      });
      let heard = "";
      void (async () => {
        for await (const text of monitor.stdout.pipeThrough(new TextDecoderStream())) heard += text;
      })();
      const hears = (name: string) =>
        waitUntil(() => heard.includes(`add table inet ${name}\n`), { what: `nft monitor saying ${name}` });
      // Until it listens.
      for (let i = 0; !heard.includes("marker"); i++) {
        nft(namespace, "add", "table", "inet", `marker${i}`);
        await Bun.sleep(50);
      }
      nft(namespace, "add", "table", "inet", "before");
      await hears("before");
      using second = Nft.open(namespace.path);
      expect([second.sync(permissive), second.writes]).toEqual([[], 0]);
      const writes = first.writes;
      expect([first.sync(permissive), first.writes]).toEqual([[], writes]);
      // Something it does see, so that its silence before means something.
      nft(namespace, "add", "table", "inet", "witness");
      await hears("witness");
      monitor.kill();
      const lines = heard.split("\n").filter((line) => !line.startsWith("#"));
      expect(lines.slice(lines.indexOf("add table inet before"))).toEqual([
        ...["add table inet before", "add table inet witness", ""],
      ]);
    });

    test("changes are only what differs: elements, or the rules of a chain", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      const pods = [...firewall.pods.slice(1), "10.4.0.0/16"];
      const moved = nftables.sync(firewallTable({ ...firewall, pods, nodes: ["192.0.2.3"] }));
      expect(moved.map(formatNftCommand)).toEqual([
        "delete element inet wg-cni pods4_in { 10.2.0.0/24 }",
        "add element inet wg-cni pods4_in { 10.4.0.0/16 }",
        "delete element inet wg-cni hosts4_in { 192.0.2.2 }",
        "delete element inet wg-cni pods4_out { 10.2.0.0/24 }",
        "add element inet wg-cni pods4_out { 10.4.0.0/16 }",
        "delete element inet wg-cni hosts4_out { 192.0.2.2 }",
        "delete element inet wg-cni nodes4 { 192.0.2.2 }",
        "delete element inet wg-cni hosts6_in { 2001:db8::2 }",
        "delete element inet wg-cni hosts6_out { 2001:db8::2 }",
        "delete element inet wg-cni nodes6 { 2001:db8::2 }",
        "delete element inet wg-cni transit4 { 192.0.2.2 }",
        "delete element inet wg-cni transit6 { 2001:db8::2 }",
      ]);
      nftables.sync(permissive);
      const stricter = nftables.sync(strict);
      expect(stricter.filter(({ do: what }) => what !== "addRule").map(formatNftCommand)).toEqual([
        "flush chain inet wg-cni spoofed",
        "flush chain inet wg-cni elsewhere",
        "flush chain inet wg-cni nodes",
        "flush chain inet wg-cni other_sources",
        "flush chain inet wg-cni prerouting",
        "flush chain inet wg-cni untunneled",
        "flush chain inet wg-cni peers",
        "flush chain inet wg-cni judged",
        "flush chain inet wg-cni arrivals",
        "flush chain inet wg-cni forwarded",
        "flush chain inet wg-cni forward",
        "flush chain inet wg-cni postrouting",
        "flush chain inet wg-cni source_changed",
        "flush chain inet wg-cni known",
        "flush chain inet wg-cni tunneled",
        "flush chain inet wg-cni translated_outside",
        "flush chain inet wg-cni foreign",
        "delete chain inet wg-cni translated_outside",
        "delete chain inet wg-cni foreign",
        "delete set inet wg-cni transit4",
        "delete set inet wg-cni transit6",
        "add chain inet wg-cni hosts",
        "add chain inet wg-cni locals",
        "add chain inet wg-cni linked",
        "add chain inet wg-cni unannounced",
        "add chain inet wg-cni refused",
        "add chain inet wg-cni unknown_sources",
        "add chain inet wg-cni led_on",
        "add chain inet wg-cni led_on_unknown",
        "add chain inet wg-cni routed",
        "add chain inet wg-cni foreign_source",
      ]);
      expect(inOrder(read(namespace))).toEqual(inOrder(strict));
    });

    test("sets and chains that come and go leave the rest, with what they have counted", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      const before = nft(namespace, "-a", "list", "set inet wg-cni pods4_in");
      nftables.sync(firewallTable(encrypting));
      expect(read(namespace)).toEqual(firewallTable(encrypting));
      expect(list(namespace)).toContain("type route hook output priority -50; policy accept;");
      const back = nftables.sync(permissive).map(formatNftCommand);
      expect(back).toContain("delete chain inet wg-cni output");
      expect(read(namespace)).toEqual(permissive);
      // The handle would be another if the set had been made anew.
      expect(nft(namespace, "-a", "list", "set inet wg-cni pods4_in")).toBe(before);
    });

    test("two tables of one name are apart, and one is not read again if only the other was changed", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      const [inet, arp] = firewallTables(encrypting) as [NftTable, NftTable];
      for (const table of [inet, arp]) nftables.sync(table);
      // The same value, not an equal one: it was remembered.
      expect(nftables.find(inet)).toBe(inet);
      expect(nftables.find(arp)).toBe(arp);
      for (const table of [inet, arp]) expect(nftables.sync(table)).toEqual([]);
      expect(nftables.delete(arp)).toBe(true);
      expect([nftables.find(arp), nftables.find(inet)]).toEqual([undefined, inet]);
      nft(namespace, "flush table inet wg-cni");
      expect(nftables.find(inet)).not.toEqual(inet);
    });

    test("is absent before it is made and after it is deleted", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      expect(nftables.find(ourTable)).toBeUndefined();
      expect(nftables.counters(ourTable)).toEqual(new Map());
      expect(nftables.delete(ourTable)).toBe(false);
      nftables.sync(permissive);
      nft(namespace, "add", "table", "inet", "other");
      expect(nftables.delete(ourTable)).toBe(true);
      expect(nftables.find(ourTable)).toBeUndefined();
      expect(list(namespace)).toBe("table inet other {\n}\n");
    });

    test("20,000 prefixes are made, read back equal, changed and deleted in a bounded time", () => {
      const namespace = new Namespace();
      const pods = Array.from({ length: 10_000 }, (_, i) => [
        `10.${i >> 8}.${i & 255}.0/24`,
        `fd00:${(i + 1).toString(16)}::/64`,
      ]).flat();
      const wanted = firewallTable({ ...firewall, pods });
      using nftables = Nft.open(namespace.path);
      const start = Bun.nanoseconds();
      nftables.sync(wanted);
      expect(read(namespace)).toEqual(wanted);
      expect(nftables.sync(firewallTable({ ...firewall, pods: pods.slice(1) })).length).toBe(2);
      expect(nftables.sync(wanted).length).toBe(2);
      expect(nftables.counters(ourTable).get("pods6_out")?.size).toBe(10_000);
      nftables.delete(ourTable);
      expect((Bun.nanoseconds() - start) / 1e9).toBeLessThan(15);
    }, 30_000);

    test("any prefixes become any other prefixes", () => {
      const namespace = new Namespace();
      const below = random(6);
      using nftables = Nft.open(namespace.path);
      for (let round = 0; round < 40; round++) {
        const pods: string[] = [];
        for (let block = 0; block < 12; block++) {
          // Whole, in parts that touch each other and the next, or absent.
          const parts = [
            [`10.0.${block}.0/24`],
            [`10.0.${block}.0/25`, `10.0.${block}.128/25`],
            [`10.0.${block}.255/32`],
            [],
          ];
          for (const prefix of parts[below(parts.length)] ?? []) pods.push(prefix);
          if (below(2) === 0) pods.push(`fd00:0:0:${block + 1}::/64`);
        }
        const wanted = firewallTable({ ...firewall, pods, strict: below(2) === 0 });
        nftables.sync(wanted);
        expect(inOrder(read(namespace))).toEqual(inOrder(wanted));
      }
    }, 20_000);
  },
  noNft,
);

describeKernel(
  "transactions",
  () => {
    test("do nothing at all if one command is refused, and say which", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      const rule = [{ kind: "verdict", verdict: "accept" }] as const;
      const refused = () =>
        nftables.apply([
          { table: t, do: "addTable" },
          { table: t, do: "addRule", chain: "none", rule },
        ]);
      expect(refused).toThrow("Cannot add rule inet t none accept: ENOENT (No such file or directory)");
      expect(list(namespace)).toBe("");
    });

    test("overlapping prefixes are refused with their set's name", () => {
      using nftables = Nft.open(new Namespace().path);
      const pods = ["10.0.0.0/8", "10.1.0.0/16"];
      expect(() => nftables.sync(firewallTable({ ...firewall, pods }))).toThrow(
        "Cannot add 2 elements of set inet wg-cni pods4_in: EEXIST",
      );
      expect(nftables.find(ourTable)).toBeUndefined();
    });

    test("are refused if nftables has changed since they were decided", () => {
      const namespace = new Namespace();
      using transactions = NftTransactions.open(namespace.path);
      const requests = commandRequests({ table: t, do: "addTable" }, 1);
      expect(transactions.transact(requests, 77)?.errno).toBe(85);
      expect(list(namespace)).toBe("");
      // The conversation goes on.
      expect(transactions.transact(requests)).toBeUndefined();
      expect(list(namespace)).toContain("table inet t");
    });

    test("succeed beside another program that changes its own table all the time", async () => {
      const namespace = new Namespace();
      const script = "while :; do nft add table ip busy; nft delete table ip busy; sleep 0.02; done";
      const other = Bun.spawn(["ip", "netns", "exec", namespace.name, "sh", "-c", script]);
      try {
        using nftables = Nft.open(namespace.path);
        for (let i = 0; i < 30; i++) {
          const wanted = i % 2 === 0 ? permissive : strict;
          nftables.sync(wanted);
          await Bun.sleep(5);
          expect(inOrder(nftables.find(ourTable))).toEqual(inOrder(wanted));
        }
      } finally {
        other.kill();
        await other.exited;
      }
    }, 30_000);
  },
  noNft,
);

describe("without a table of ours", () => {
  test("the text of a table that is only observed is still text", () => {
    const chain = { name: "c", rules: [[{ kind: "unknown", expression: "limit" }]] } as const;
    expect(formatNftTable({ ...t, sets: [], chains: [chain], foreign: [] })).toContain("\t\t(limit)\n");
  });
});
