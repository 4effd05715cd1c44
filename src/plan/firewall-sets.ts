// The sets of our nftables tables: whose addresses are in them, and what they
// are called. What is done with them is the chains' matter (firewall.ts). Pure.
import type { Exemption } from "../net/exemption.ts";
import { type Family, familyOf } from "../net/ip.ts";
import type { NftSet } from "../net/nftables.ts";
import type { Mark } from "../net/objects.ts";
import { comparePrefixes, prefixContains } from "../net/prefix.ts";

export interface RemotePods {
  /** Canonical prefix of pods of another node; none overlaps another. */
  readonly prefix: string;
  /** Name of that node. */
  readonly peer: string;
}

/** What the tables are made from. */
export interface Firewall {
  readonly table: string;
  /** Our WireGuard devices, whether they exist yet or not. */
  readonly devices: readonly string[];
  /** What encrypted packets carry. */
  readonly mark: Mark;
  /** Drops in place of only counting. */
  readonly strict: boolean;
  readonly pods: readonly RemotePods[];
  /** Addresses of the other nodes. */
  readonly nodes: readonly string[];
  /** This node's own node IPs: the others take from the tunnel what comes from them. */
  readonly own: readonly string[];
  /** Canonical prefixes of this node's own pods: the others take what comes from them too, and none of it is exempt. */
  readonly localPods: readonly string[];
  /** True where what this node sends to other nodes takes the tunnel too. */
  readonly hostEncryption: boolean;
  /** What then stays outside of it, in both directions. */
  readonly exempt: readonly Exemption[];
}

/** "in" arrived from another node in clear, "out" was about to leave to it. */
export type Direction = "in" | "out";

export const families: readonly Family[] = [4, 6];
const directions: readonly Direction[] = ["in", "out"];

/** Name of the set whose elements count the packets of one direction. */
export function podSet(family: Family, direction: Direction): string {
  return `pods${family}_${direction}`;
}

/** The sets that count, with their directions. */
export const podSets = directions.flatMap((direction) =>
  families.map((family) => ({ direction, name: podSet(family, direction) })),
);

export function nodeSet(family: Family): string {
  return `nodes${family}`;
}

export function ownSet(family: Family): string {
  return `own${family}`;
}

export function localSet(family: Family): string {
  return `local${family}`;
}

/** Those of the table that sees packets. */
export function setsOf({ pods, nodes, own, localPods }: Firewall): NftSet[] {
  const sets: NftSet[] = [];
  for (const family of families) {
    const prefixes = new Set<string>();
    for (const { prefix } of pods) if (familyOf(prefix) === family) prefixes.add(prefix);
    for (const direction of directions)
      sets.push({
        ...{ name: podSet(family, direction), family, interval: true, counter: true, elements: prefixes },
      });
    sets.push(addressSet(nodeSet(family), family, nodes), addressSet(ownSet(family), family, own));
    sets.push(localPodSet(family, localPods));
  }
  return sets;
}

/** Of those that are of the family. */
export function addressSet(name: string, family: Family, addresses: readonly string[]): NftSet {
  const elements = new Set(addresses.filter((address) => familyOf(address) === family));
  return { name, family, interval: false, counter: false, elements };
}

function localPodSet(family: Family, localPods: readonly string[]): NftSet {
  const elements = new Set<string>();
  let last: string | undefined;
  // Intervals must not overlap; a prefix stands before those that it contains.
  for (const prefix of [...localPods].sort(comparePrefixes)) {
    if (familyOf(prefix) !== family || (last !== undefined && prefixContains(last, prefix))) continue;
    elements.add(prefix);
    last = prefix;
  }
  return { name: localSet(family), family, interval: true, counter: false, elements };
}
