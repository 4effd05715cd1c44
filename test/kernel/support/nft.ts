// The tests of nftables share a firewall, and nft(8) as the reference.
import { parseExemption } from "../../../src/net/exemption.ts";
import type { NftTable, NftTableName } from "../../../src/net/nftables.ts";
import { Nft } from "../../../src/netlink/nft/table.ts";
import type { Firewall } from "../../../src/plan/firewall/sets.ts";
import { firewallTable } from "../../../src/plan/firewall/table.ts";
import { firewall as plain } from "../../plan/firewall/firewalls.ts";
import { type Namespace, run } from "./namespaces.ts";

/** The table that sees packets. */
export const ourTable = { family: "inet", name: "wg-cni" } as const;

export const noNft = Bun.which("nft") ? undefined : "nft(8) is missing";

export const firewall: Firewall = {
  ...plain,
  pods: ["10.2.0.0/24", "10.2.1.0/24", "10.9.0.7/32", "fd00:2::/64", "fd00:2:0:1::/64"],
  nodes: ["192.0.2.2", "192.0.2.3", "2001:db8::2"],
  localPods: ["10.1.0.0/24", "fd00:1::/64"],
};

export const encrypting: Firewall = {
  ...firewall,
  hostEncryption: true,
  exempt: ["192.0.2.1", "2001:db8::2", "192.0.2.2:6443", "[2001:db8::1]:6443", "tcp/2379", "udp/4789"].map(
    parseExemption,
  ),
};

export const permissive = firewallTable(firewall);
export const strict = firewallTable({ ...firewall, strict: true });

export function nft(namespace: Namespace, ...words: string[]): string {
  return run(["ip", "netns", "exec", namespace.name, "nft", ...words]);
}

/** Reads text as `nft -f` does. */
export function load(namespace: Namespace, text: string): void {
  const command = ["ip", "netns", "exec", namespace.name, "nft", "-f", "-"];
  const done = Bun.spawnSync(command, { stdin: Buffer.from(text), stderr: "pipe" });
  if (!done.success) throw new Error(`nft -f: ${done.stderr}\n${text}`);
}

/** Returns the listing of nft, without counters. */
export function list(namespace: Namespace): string {
  return nft(namespace, "-s", "list", "ruleset");
}

/** Reads by a new connection, because the other one may have a cache. */
export function read(namespace: Namespace, table: NftTableName = ourTable): NftTable | undefined {
  using other = Nft.open(namespace.path);
  return other.find(table);
}
