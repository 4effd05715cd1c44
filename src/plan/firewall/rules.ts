// Rules that several chains of our nftables table share. Pure.
import type { Family } from "../../net/ip.ts";
import type { IcmpType, NftRule, NftStatement } from "../../net/nftables.ts";
import { marksOf } from "./marks.ts";
import { type Firewall, families, localSet } from "./sets.ts";

/** This priority comes before connection tracking, and before anything else that may read or change the mark. */
export const rawPriority = -300;
/** Segment sizes are clamped here by custom. */
export const manglePriority = -150;

export const accept: NftStatement = { kind: "verdict", verdict: "accept" };
export const drop: NftStatement = { kind: "verdict", verdict: "drop" };

/** Makes one rule for each device: it matches packets that come (iif) or go (oif) by the device. */
export function byInterfaces(
  names: readonly string[],
  direction: "iif" | "oif",
  ...then: readonly NftStatement[]
): NftRule[] {
  return names.map((name): NftRule => [{ kind: "interface", direction, name }, ...then]);
}

export function inSet(family: Family, field: "saddr" | "daddr", set: string): NftStatement {
  return { kind: "inSet", family, field, set };
}

/** Accepts packets from the addresses of a set. */
export function from(family: Family, set: string): NftRule {
  return [inSet(family, "saddr", set), accept];
}

export function goto(chain: string): NftStatement {
  return { kind: "goto", chain };
}

/** ICMP errors about a packet quote that packet. */
export const icmpErrors: Readonly<Record<Family, readonly IcmpType[]>> = {
  4: ["destination-unreachable", "time-exceeded", "parameter-problem"],
  6: ["destination-unreachable", "time-exceeded", "packet-too-big", "parameter-problem"],
};

/**
 * Matches packets that look like our encrypted ones. None of their parts is a proof: a process that may
 * open raw sockets can forge all of them, so callers also check the destination.
 */
export function looksEncrypted({ mark, ports }: Firewall): NftStatement[][] {
  return ports.map((port) => [
    { kind: "hasMark", mark: marksOf(mark).outside },
    { kind: "port", protocol: "udp", field: "sport", port },
    { kind: "wireguardMessage" },
  ]);
}

/** Matches packets that look like a port check of this node (port-checks.ts), which goes where encrypted packets go. */
export function looksLikeCheck({ mark, ports }: Firewall): NftStatement[][] {
  return ports.map((port) => [
    { kind: "hasMark", mark: marksOf(mark).outside },
    { kind: "port", protocol: "udp", field: "dport", port },
    { kind: "wireguardMessage" },
  ]);
}

/**
 * A packet to an address of this node's pods that is about to leave by an uplink: the
 * pod has gone, and the route that is left is not the pod's.
 */
export function toDepartedPods({ uplinks }: Firewall, ...then: readonly NftStatement[]): NftRule[] {
  return uplinks.flatMap((name) =>
    families.map(
      (family): NftRule => [
        { kind: "interface", direction: "oif", name },
        inSet(family, "daddr", localSet(family)),
        ...then,
      ],
    ),
  );
}
