// The sets of our nftables tables, with their names and elements. The chains use them (table.ts). Pure.
import type { Exemption } from "../../net/exemption.ts";
import { type Family, familyOf } from "../../net/ip.ts";
import { keepFor } from "../../net/keep.ts";
import type { NftSet } from "../../net/nftables.ts";
import type { Mark } from "../../net/objects.ts";
import { comparePrefixes, prefixContains } from "../../net/prefix.ts";

/** The peer that an element of a set belongs to. */
export interface Remote {
  /** Canonical prefix of pods, or the address of a node. */
  readonly element: string;
  /** Name of that node. */
  readonly peer: string;
}

/** The facts that the tables are made from. */
export interface Firewall {
  readonly table: string;
  /** Our WireGuard devices, whether they exist yet or not. */
  readonly devices: readonly string[];
  /** UDP ports of the devices. */
  readonly ports: readonly number[];
  /** The field of two bits, with what encrypted packets carry in it (marks.ts). */
  readonly mark: Mark;
  /** True if plaintext is dropped and not only counted. */
  readonly strict: boolean;
  /** Canonical prefixes of the other nodes' pods; none overlaps another. */
  readonly pods: readonly string[];
  /** Addresses of the other nodes. */
  readonly nodes: readonly string[];
  /** Addresses that other nodes send encrypted packets from. */
  readonly senders: readonly string[];
  /** Addresses that a node claims and another node has claimed before: no handshake has shown the owner yet. They are few. */
  readonly contested?: readonly string[];
  /** This node's own node IPs: peers accept packets from these addresses out of the tunnel. */
  readonly own: readonly string[];
  /** Canonical prefixes of this node's own pods: peers accept packets from them too, and none of them is exempt. */
  readonly localPods: readonly string[];
  /** Canonical prefixes of the cluster's pods, those of no known pod included; they may overlap. */
  readonly clusterCIDRs: readonly string[];
  /** True if `localPods` has all of this node's pods that the peers know, one by one: any other source is unknown to them. */
  readonly podsAreAnnounced: boolean;
  /** Interfaces that lead to other nodes and the rest of the world, and to no pod of this node. */
  readonly uplinks: readonly string[];
  /** True if connections may be tracked and their marks used. */
  readonly connections: boolean;
  /** True if packets that this node itself sends to other nodes take the tunnel, too. */
  readonly hostEncryption: boolean;
  /** The exemptions from host encryption, in both directions. */
  readonly exempt: readonly Exemption[];
}

/** "in" arrived from another node in plaintext, "out" was about to leave to it. */
export type Direction = "in" | "out";

export const families: readonly Family[] = [4, 6];
const directions: readonly Direction[] = ["in", "out"];

/** Returns the name of the set whose elements count the packets of one direction. */
export function podSet(family: Family, direction: Direction): string {
  return `pods${family}_${direction}`;
}

/** The same as podSet, for packets between the other nodes themselves and pods of this one. */
export function hostSet(family: Family, direction: Direction): string {
  return `hosts${family}_${direction}`;
}

/** The sets that count, with their directions. */
export const countingSets = directions.flatMap((direction) =>
  families.flatMap((family) => [
    { direction, name: podSet(family, direction) },
    { direction, name: hostSet(family, direction) },
  ]),
);

export function nodeSet(family: Family): string {
  return `nodes${family}`;
}

/** Counts what other nodes send through this node to others outside the tunnel, unless strict mode drops it. */
export function transitSet(family: Family): string {
  return `transit${family}`;
}

export function ownSet(family: Family): string {
  return `own${family}`;
}

export function localSet(family: Family): string {
  return `local${family}`;
}

export function clusterSet(family: Family): string {
  return `cluster${family}`;
}

/** Counts packets that arrived outside the tunnel with a peer's source that the interface leads to. */
export const arrivedSet = "arrived";
/** Counts packets with a source that the interface does not lead to. */
export const spoofedSet = "spoofed";
/** Counts packets with the source of a pod that no node has announced; only in strict mode. */
export const unknownSourceSet = "unknown_sources";
/** Counts stray packets: our devices delivered them, they have no receiver here, and they are refused. */
export const strayPacketSet = "stray_packets";
/** Counts, by source, packets to peers that no peer would take out of the tunnel: this host has given them a foreign source. */
export function refusedSourceSet(family: Family): string {
  return `refused_sources${family}`;
}

/** Counts the same by destination. */
export function refusedDestinationSet(family: Family): string {
  return `refused_destinations${family}`;
}

/** Minutes for which a packet with a refused source is a fact of the present. */
const refusedMinutes = 1;

/** The sets whose elements are interfaces. */
export const interfaceSets = [arrivedSet, spoofedSet, unknownSourceSet, strayPacketSet] as const;

/** Makes the sets of the table that sees packets. */
export function setsOf({ pods, nodes, own, localPods, clusterCIDRs }: Firewall): NftSet[] {
  const byFamily = families.flatMap((family) => [
    ...directions.flatMap((direction) => [
      { ...addressSet(podSet(family, direction), family, pods), interval: true, counter: true },
      { ...addressSet(hostSet(family, direction), family, nodes), counter: true },
    ]),
    addressSet(nodeSet(family), family, nodes),
    addressSet(ownSet(family), family, own),
    prefixSet(localSet(family), family, localPods),
    prefixSet(clusterSet(family), family, clusterCIDRs),
  ]);
  return [...byFamily, ...refusedSets(), ...interfaceSets.map(interfaceSet)];
}

function refusedSets(): NftSet[] {
  return families.flatMap((family) =>
    [refusedSourceSet(family), refusedDestinationSet(family)].map((name) => ({
      ...{ name, family, interval: false, counter: true, dynamic: true, timeoutMinutes: refusedMinutes },
      elements: new Set<string>(),
    })),
  );
}

/** Makes the sets that only a table has that lets plaintext pass. */
export function transitSetsOf({ nodes, strict }: Firewall): NftSet[] {
  if (strict) return [];
  return families.map((family) => ({ ...addressSet(transitSet(family), family, nodes), counter: true }));
}

function interfaceSet(name: string): NftSet {
  return {
    ...{ name, family: "ifname", interval: false, counter: true, dynamic: true },
    elements: new Set(),
  };
}

/** Makes the set of the prefixes that are of the family. */
export function addressSet(name: string, family: Family, addresses: readonly string[]): NftSet {
  return { name, family, interval: false, counter: false, elements: elementsOf(addresses)[family] };
}

/** Several sets have the thousands of addresses of one list, and the list is often that of the table before. */
const elementsOf = keepFor((addresses: readonly string[]): Record<Family, ReadonlySet<string>> => {
  const elements = { 4: new Set<string>(), 6: new Set<string>() };
  for (const address of addresses) elements[familyOf(address)].add(address);
  return elements;
});

function prefixSet(name: string, family: Family, prefixes: readonly string[]): NftSet {
  const elements = new Set<string>();
  let last: string | undefined;
  // Intervals must not overlap; a prefix stands before those that it contains.
  for (const prefix of [...prefixes].sort(comparePrefixes)) {
    if (familyOf(prefix) !== family || (last !== undefined && prefixContains(last, prefix))) continue;
    elements.add(prefix);
    last = prefix;
  }
  return { name, family, interval: true, counter: false, elements };
}
