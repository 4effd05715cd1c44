// Changes by hand in our table, here by nft(8), are noticed and repaired, and nothing else is
// changed.
import { afterAll, expect, test } from "bun:test";
import type { NftTableName } from "../../../src/net/nftables.ts";
import { diffNftTables } from "../../../src/net/nftables-diff.ts";
import { formatNftCommand } from "../../../src/net/nftables-text.ts";
import type { Rule } from "../../../src/net/objects.ts";
import { Nft } from "../../../src/netlink/nft/table.ts";
import { podFirewall } from "../../../src/plan/pods/firewall.ts";
import { podFirewallName } from "../../../src/plan/pods/firewall-name.ts";
import type { Step } from "../../../src/plan/step.ts";
import { applySteps, isOutdated } from "../../../src/reconcile/apply.ts";
import { Kernel } from "../../../src/reconcile/kernel.ts";
import { syncPodLinks } from "../../../src/reconcile/pod-links.ts";
import type { Store } from "../../../src/state/store.ts";
import { describeKernel, Namespace, removeNamespaces } from "../support/namespaces.ts";
import { list, nft, noNft, ourTable, permissive, read } from "../support/nft.ts";

afterAll(removeNamespaces);

describeKernel(
  "what is changed by hand",
  () => {
    test.each([
      "flush ruleset",
      "flush table inet wg-cni",
      "flush chain inet wg-cni postrouting",
      "insert rule inet wg-cni prerouting accept",
      "add rule inet wg-cni forward limit rate 5/second drop",
      "add rule inet wg-cni forward ip daddr { 10.0.0.1, 10.0.0.2 } drop",
      "add rule inet wg-cni clamp tcp dport 80 counter accept",
      "add element inet wg-cni pods4_in { 10.77.0.0/16 }",
      "add element inet wg-cni pods4_in { 10.77.0.1-10.77.0.9 }",
      "delete element inet wg-cni nodes4 { 192.0.2.2 }",
      "flush set inet wg-cni pods4_in",
      "add chain inet wg-cni stray",
      "add chain inet wg-cni stray { type nat hook prerouting priority 0; }",
      "add chain inet wg-cni stray { type route hook output priority 0; }; add rule inet wg-cni stray drop",
      "add set inet wg-cni stray { type inet_service; }",
      "add map inet wg-cni stray { type ipv4_addr : verdict; }",
      "add counter inet wg-cni stray",
      "add table inet wg-cni { flags dormant; }",
      "add chain inet wg-cni forward { policy drop; }",
      "delete rule inet wg-cni forward handle HANDLE",
    ])("%s", (byHand) => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      const before = list(namespace);
      const handle = /iifname "wg-cni-b" goto passing # handle (\d+)/.exec(
        nft(namespace, "-a", "list", "ruleset"),
      );
      nft(namespace, byHand.replace("HANDLE", handle?.[1] ?? ""));
      expect(read(namespace)).not.toEqual(permissive);
      expect(nftables.sync(permissive).length).toBeGreaterThan(0);
      expect(list(namespace)).toBe(before);
      expect(read(namespace)).toEqual(permissive);
    });

    test("a set deleted comes back, with its elements", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      const before = list(namespace);
      nft(namespace, "flush chain inet wg-cni prerouting; delete set inet wg-cni pods4_in");
      expect(nftables.sync(permissive).some(({ do: what }) => what === "deleteTable")).toBe(false);
      // Now the last of the sets.
      const lines = (text: string) => text.split("\n").sort();
      expect(lines(list(namespace))).toEqual(lines(before));
      using other = Nft.open(namespace.path);
      expect(other.sync(permissive)).toEqual([]);
    });

    test("an element that matches whatever no other does is removed", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      const before = list(namespace);
      const set = { name: "pods6_out", family: 6, interval: true, counter: true } as const;
      // nft(8) 1.0.6 crashes on it where elements have counters.
      nftables.apply([{ table: ourTable, do: "addElements", set, elements: ["*"] }]);
      expect(list(namespace)).toContain("* counter");
      expect(nftables.sync(permissive).map(formatNftCommand)).toEqual([
        "delete element inet wg-cni pods6_out { * }",
      ]);
      expect(list(namespace)).toBe(before);
    });

    test("after a change was planned makes it stale, and nothing of it is done", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      nft(namespace, "flush chain inet wg-cni postrouting");
      const base = nftables.find(ourTable);
      const commands = diffNftTables(permissive, base);
      expect(commands.length).toBeGreaterThan(0);
      nft(namespace, "add rule inet wg-cni forward drop");
      const before = list(namespace);
      expect(() => nftables.change(permissive, base, commands)).toThrow(
        expect.objectContaining({ code: "ESTALE" }),
      );
      expect(list(namespace)).toBe(before);
      // A foreign object that stays does no harm.
      nft(namespace, "delete table inet wg-cni; add table inet wg-cni; add counter inet wg-cni c");
      const foreign = nftables.find(ourTable);
      nft(namespace, "add table inet other");
      nftables.change(permissive, foreign, diffNftTables(permissive, foreign));
      expect(read(namespace)).toEqual(permissive);
    });

    test("in other tables leaves a planned change as it is", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      const commands = diffNftTables(permissive, undefined);
      nft(namespace, "add table inet other");
      nftables.change(permissive, undefined, commands);
      expect(read(namespace)).toEqual(permissive);
      expect(() => nftables.change(permissive, undefined, commands)).toThrow(
        expect.objectContaining({ code: "ESTALE" }),
      );
    });

    test("after a plan ends what is applied of it before a step that relies on the firewall", () => {
      const namespace = new Namespace();
      const rule = { family: 4, priority: 97, action: "lookup", table: 18099, protocol: 118 } as Rule;
      const openFirewall = () => Nft.open(namespace.path);
      using kernel = new Kernel({ open: () => undefined as never, hasKernel: () => false, openFirewall });
      kernel.enterPod(namespace.path);
      const steps = (): Step[] => [
        { do: "applyFirewall", table: permissive, commands: diffNftTables(permissive, undefined) },
        { do: "addRule", rule, netns: "pod" },
      ];
      nft(namespace, "add table inet wg-cni");
      expect(applySteps(steps(), kernel).map(isOutdated)).toEqual([true]);
      expect(namespace.ip("rule show")).not.toContain("lookup 18099");
      nft(namespace, "delete table inet wg-cni");
      expect(applySteps(steps(), kernel)).toEqual([]);
      expect(namespace.ip("rule show")).toContain("lookup 18099");
      expect(read(namespace)).toEqual(permissive);
    });

    test("a table of pods that a plugin process makes in the same moment is no failure", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      const changed: boolean[] = [];
      const firewall = {
        // The plugin makes the table after it was searched.
        find: (name: NftTableName) => {
          const found = nftables.find(name);
          if (found === undefined) {
            using plugin = Nft.open(namespace.path);
            plugin.sync(podFirewall);
          }
          return found;
        },
        change: (...change: Parameters<Nft["change"]>) => {
          changed.push(true);
          nftables.change(...change);
        },
      };
      const kernel = { host: { links: () => [] }, firewall, writes: 0 } as unknown as Kernel;
      const store = { hasStandalonePods: () => true, attachments: () => [] } as unknown as Store;
      expect(syncPodLinks(store, kernel, 0)).toMatchObject({ failures: [], unexplained: [] });
      expect(changed).toEqual([true]);
      expect(nftables.find(podFirewallName)).toEqual(podFirewall);
    });

    test("is named", () => {
      const namespace = new Namespace();
      using nftables = Nft.open(namespace.path);
      nftables.sync(permissive);
      nft(namespace, "add counter inet wg-cni c; add map inet wg-cni m { type ipv4_addr : verdict; }");
      nft(namespace, "add table inet wg-cni { flags dormant; }");
      expect(nftables.find(ourTable)?.foreign).toEqual(["set m", "1 object", "flags dormant"]);
      nft(namespace, "insert rule inet wg-cni forward meta mark 7 limit rate 5/second accept");
      const forward = nftables.find(ourTable)?.chains.find(({ name }) => name === "forward");
      expect(forward?.rules[0]).toEqual([
        { kind: "unknown", expression: "meta" },
        { kind: "unknown", expression: "cmp" },
        { kind: "unknown", expression: "limit" },
        { kind: "verdict", verdict: "accept" },
      ]);
    });
  },
  noNft,
);
