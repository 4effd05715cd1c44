// Finds addresses of pods that belong to another node. If this node kept one of them out of the tunnel, it
// would send another node's packets in plaintext. Pure.

import type { Family } from "../../net/ip.ts";
import { hostPrefix, prefixContains } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { OwnedPeer } from "./model.ts";
import { Nesting, PrefixOwners } from "./prefix-owners.ts";

/** Returns the sets of the table `inet wg-cni` with the addresses of other nodes: pods by prefix, nodes by address (firewall/sets.ts). */
export function peerSets(family: Family): readonly string[] {
  return [`pods${family}_in`, `nodes${family}`];
}

/** True if one of the prefixes holds the address. */
export function isHeld(prefixes: readonly string[], ip: string): boolean {
  return prefixes.some((prefix) => prefixContains(prefix, hostPrefix(ip)));
}

/**
 * Returns the addresses of a node's pods that no peer has. Addresses in `own` are this node's already, and
 * claims.ts decides about peers' claims to them.
 */
export function withoutTaken(
  ips: readonly string[],
  {
    own,
    peers,
  }: { own: readonly string[]; peers: readonly Pick<OwnedPeer, "name" | "nodeIPs" | "podCIDRs">[] },
): readonly string[] {
  const known = new Set(own);
  const foreign = ips.filter((ip) => !known.has(hostPrefix(ip)) && !isHeld(own, ip)).map(hostPrefix);
  if (foreign.length === 0) return ips;
  const held = peers.flatMap(({ name: owner, nodeIPs, podCIDRs }) =>
    [...podCIDRs, ...nodeIPs.map(hostPrefix)].map((prefix) => ({ owner, prefix })),
  );
  const owners = new PrefixOwners(new Nesting([...held.map(({ prefix }) => prefix), ...foreign]));
  for (const holder of held) owners.hold(holder);
  const taken = new Set(foreign.filter((prefix) => owners.findOther("", prefix) !== undefined));
  return ips.filter((ip) => !taken.has(hostPrefix(ip)));
}

/** Returns the name of the node that has the address, for itself or for a pod. */
export function findHolder(
  peers: readonly Pick<NodeRecord, "name" | "nodeIPs" | "podCIDRs">[],
  ip: string,
): string | undefined {
  return peers.find(({ nodeIPs, podCIDRs }) => nodeIPs.includes(ip) || isHeld(podCIDRs, ip))?.name;
}
