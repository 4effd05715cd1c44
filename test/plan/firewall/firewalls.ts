// Two firewalls that the tests begin with: with and without host encryption; and their chains as text.
import { parseExemption } from "../../../src/net/exemption.ts";
import type { NftChain, NftTable } from "../../../src/net/nftables.ts";
import { formatNftTable } from "../../../src/net/nftables-text.ts";
import type { Firewall } from "../../../src/plan/firewall/sets.ts";

export const firewall: Firewall = {
  table: "wg-cni",
  devices: ["wg-cni-a", "wg-cni-b"],
  ports: [51820, 51821],
  mark: { mark: 0x20000000, mask: 0x60000000 },
  strict: false,
  pods: ["10.2.0.0/24", "fd00:2::/64", "10.9.0.7/32"],
  nodes: ["192.0.2.2", "2001:db8::2"],
  senders: ["192.0.2.2", "2001:db8::2"],
  own: ["192.0.2.1", "2001:db8::1"],
  localPods: ["10.1.0.128/25", "10.1.0.0/24", "10.1.1.0/24", "fd00:1::/64"],
  clusterCIDRs: ["10.0.0.0/8", "fd00::/32"],
  podsAreAnnounced: false,
  uplinks: ["eth0"],
  connections: true,
  hostEncryption: false,
  exempt: [],
};

export const encrypting: Firewall = {
  ...firewall,
  hostEncryption: true,
  exempt: ["192.0.2.2", "2001:db8::3", "192.0.2.1:6443", "[2001:db8::2]:6443", "udp/4789"].map(
    parseExemption,
  ),
};

/** The chains of a table as text, one rule a line. */
export function chains(table: NftTable): string[] {
  const text = formatNftTable({ ...table, sets: [] });
  return text.split("\n").slice(1, -2);
}

/** The table with only those chains that `other` does not have in the same form. */
export function chainsBeside(other: NftTable, table: NftTable): NftTable {
  const isThere = (chain: NftChain) => other.chains.some((one) => Bun.deepEquals(one, chain));
  return { ...table, chains: table.chains.filter((chain) => !isThere(chain)) };
}

export function chainNames({ chains }: NftTable): string[] {
  return chains.map(({ name }) => name);
}

/** Names of the chains for what arrives outside of the tunnel (arrival.test.ts). */
export const arrivalChains: readonly string[] = [
  ...[
    "spoofed",
    "elsewhere",
    "hosts",
    "nodes",
    "locals",
    "other_sources",
    "prerouting",
    "delivered",
    "reroute",
    "untunneled",
    "peers",
  ],
  ...["linked", "unannounced", "judged", "refused", "unknown_sources", "arrivals"],
];

/** Names of the chains for packets whose source is final (leaving.test.ts). */
export const leavingChains: readonly string[] = [
  "foreign_source",
  "source_changed",
  "routed",
  "known",
  "translated_outside",
  "tunneled",
];
