// Compares the claims that this node is about to make with those of its peers. A claim of a node takes the
// address or CIDR from its peers in its own kernel, so one that was typed by mistake would cut the node off
// from a peer. Pure.
import { hostPrefix, prefixesOverlap } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";

type Claims = Pick<NodeRecord, "nodeIPs" | "podCIDRs">;

export interface OwnClaims {
  /** The claims that the node will have. */
  readonly wanted: Claims;
  /** The claims that the node has; empty for a new node. It keeps what it has already. */
  readonly before: Claims;
  /** Addresses of this host's interfaces, without our own devices: a node that has an address has it rightly. */
  readonly hostIPs: readonly string[];
}

/** Returns one sentence for each claim that is a peer's. */
export function findTakenClaims(
  { wanted, before, hostIPs }: OwnClaims,
  peers: readonly NodeRecord[],
): string[] {
  const newIPs = wanted.nodeIPs.filter((ip) => !before.nodeIPs.includes(ip) && !hostIPs.includes(ip));
  const newCIDRs = wanted.podCIDRs.filter((cidr) => !before.podCIDRs.includes(cidr));
  return [
    ...newIPs.flatMap((ip) => {
      const owner = peers.find((peer) => hasAddress(peer, ip));
      if (owner === undefined) return [];
      return [`node IP ${ip} is ${owner.name}'s, and no interface of this host has it`];
    }),
    ...newCIDRs.flatMap((cidr) => {
      const owner = peers.find((peer) => prefixesOf(peer).some((held) => prefixesOverlap(held, cidr)));
      return owner === undefined ? [] : [`pod CIDR ${cidr} overlaps what is ${owner.name}'s`];
    }),
  ];
}

function hasAddress({ nodeIPs, endpoints, podCIDRs }: NodeRecord, ip: string): boolean {
  const isPod = podCIDRs.some((cidr) => prefixesOverlap(cidr, hostPrefix(ip)));
  return nodeIPs.includes(ip) || endpoints.includes(ip) || isPod;
}

function prefixesOf({ nodeIPs, podCIDRs }: NodeRecord): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}
