// What arrived and should not have, by the interface that it came by: outside the tunnel, and
// by the tunnel for nobody here. From what the sets of our nftables table have counted. Pure.
import type { NftCounter } from "../../net/nftables.ts";
import { arrivedSet, spoofedSet, strangerSet, straySet } from "../firewall/sets.ts";

export interface InterfaceArrivals {
  /** Its name, which it may no longer have. */
  readonly interface: string;
  /** In the name of peers, by the interface that leads to them: peers count these, too. */
  readonly peerPackets: number;
  /** In the name of somebody whom the interface does not lead to; in strict mode they were dropped. */
  readonly spoofedPackets: number;
  /** From addresses in cluster CIDRs that no node has announced; only strict mode counts them, and drops them. */
  readonly unannouncedPackets: number;
}

const sets = {
  peerPackets: arrivedSet,
  spoofedPackets: spoofedSet,
  unannouncedPackets: strangerSet,
} as const;

/** Sorted by interface; one that nothing came by is left out. `counters`: set -> interface -> counter. */
export function listArrivals(
  counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>,
): InterfaceArrivals[] {
  const names = Object.values(sets).flatMap((set) => [...(counters.get(set)?.keys() ?? [])]);
  const packets = (set: string, name: string) => counters.get(set)?.get(name)?.packets ?? 0;
  return [...new Set(names)].sort().map((name) => ({
    interface: name,
    peerPackets: packets(sets.peerPackets, name),
    spoofedPackets: packets(sets.spoofedPackets, name),
    unannouncedPackets: packets(sets.unannouncedPackets, name),
  }));
}

/** Packets that a device delivered for others than this node and its pods: they were refused. */
export interface StrayPackets {
  readonly device: string;
  readonly packets: number;
}

/** Sorted by device; one that delivered none is left out. `counters`: as for listArrivals. */
export function listStrays(counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>): StrayPackets[] {
  const strays = [...(counters.get(straySet) ?? [])].map(([device, { packets }]) => ({ device, packets }));
  return strays.sort((a, b) => (a.device < b.device ? -1 : 1));
}

/** "eth1: 3 spoofed": what of it is nobody's whom the interface leads to; undefined where there is none. */
export function describeForeign(arrivals: InterfaceArrivals): string | undefined {
  return describeArrivals({ ...arrivals, peerPackets: 0 });
}

/** The same with what came in peers' names. */
export function describeArrivals(arrivals: InterfaceArrivals): string | undefined {
  const { interface: name, peerPackets, spoofedPackets, unannouncedPackets } = arrivals;
  const parts = [
    ...(peerPackets > 0 ? [`${peerPackets} in peers' names`] : []),
    ...(spoofedPackets > 0 ? [`${spoofedPackets} spoofed`] : []),
    ...(unannouncedPackets > 0 ? [`${unannouncedPackets} of no announced pod`] : []),
  ];
  return parts.length === 0 ? undefined : `${name}: ${parts.join(", ")}`;
}
