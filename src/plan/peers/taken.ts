// Addresses that a pod may have been given and that are not this node's to give: to keep one
// of them out of the tunnel would send what is for another node in plaintext. Pure.

import type { Family } from "../../net/ip.ts";
import { hostPrefix, prefixContains } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { OwnedPeer } from "./model.ts";
import { Nesting, PrefixOwners } from "./prefix-owners.ts";

/** The sets of the table `inet wg-cni` that have what is other nodes': pods by prefix, nodes by address (firewall/sets.ts). */
export function peerSets(family: Family): readonly string[] {
  return [`pods${family}_in`, `nodes${family}`];
}

/** True if one of the prefixes holds the address. */
export function isHeld(prefixes: readonly string[], ip: string): boolean {
  return prefixes.some((prefix) => prefixContains(prefix, hostPrefix(ip)));
}

/**
 * Of a node's pods, those whose address no peer has. What `own` holds is this node's already,
 * and what peers claim of it is weighed there (claims.ts).
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

/** The name of the node whose pods' or own address it is. */
export function findHolder(
  peers: readonly Pick<NodeRecord, "name" | "nodeIPs" | "podCIDRs">[],
  ip: string,
): string | undefined {
  return peers.find(({ nodeIPs, podCIDRs }) => nodeIPs.includes(ip) || isHeld(podCIDRs, ip))?.name;
}
