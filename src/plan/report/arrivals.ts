// Counts packets that should not have arrived, for each interface: outside the tunnel, and
// through the tunnel without a receiver here. The sets of our nftables table have counted them. Pure.
import type { NftCounter } from "../../net/nftables.ts";
import { arrivedSet, spoofedSet, strayPacketSet, unknownSourceSet } from "../firewall/sets.ts";

export interface InterfaceArrivals {
  /** The interface's name, which it may no longer have. */
  readonly interface: string;
  /** Packets with a peer's source that arrived on the interface that leads to that peer. The peer's own counters have them, too. */
  readonly peerPackets: number;
  /** Packets with a source that the interface does not lead to. In strict mode they were dropped. */
  readonly spoofedPackets: number;
  /** From addresses in cluster CIDRs that no node has announced; only strict mode counts them, and drops them. */
  readonly unannouncedPackets: number;
}

const sets = {
  peerPackets: arrivedSet,
  spoofedPackets: spoofedSet,
  unannouncedPackets: unknownSourceSet,
} as const;

/** Lists the arrivals by interface, without interfaces that have none. `counters`: set -> interface -> counter. */
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

/** Packets that a device delivered and whose destination is neither this node nor one of its pods. They were refused. */
export interface StrayPackets {
  readonly device: string;
  readonly packets: number;
}

/** Lists the stray packets by device, without devices that have none. `counters`: as for listArrivals. */
export function listStrayPackets(
  counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>,
): StrayPackets[] {
  const packetsByDevice = [...(counters.get(strayPacketSet) ?? [])].map(([device, { packets }]) => ({
    device,
    packets,
  }));
  return packetsByDevice.sort((a, b) => (a.device < b.device ? -1 : 1));
}

/** Describes packets with a source that the interface does not lead to, as "eth1: 3 spoofed"; undefined if there is none. */
export function describeForeign(arrivals: InterfaceArrivals): string | undefined {
  return describeArrivals({ ...arrivals, peerPackets: 0 });
}

/** Describes the same, and packets that came with a peer's source. */
export function describeArrivals(arrivals: InterfaceArrivals): string | undefined {
  const { interface: name, peerPackets, spoofedPackets, unannouncedPackets } = arrivals;
  const parts = [
    ...(peerPackets > 0 ? [`${peerPackets} in peers' names`] : []),
    ...(spoofedPackets > 0 ? [`${spoofedPackets} spoofed`] : []),
    ...(unannouncedPackets > 0 ? [`${unannouncedPackets} of no announced pod`] : []),
  ];
  return parts.length === 0 ? undefined : `${name}: ${parts.join(", ")}`;
}
