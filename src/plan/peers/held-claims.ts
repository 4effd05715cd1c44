// Finds the claims that a peer keeps while its record is contested. If two nodes exchange their addresses, or
// a record claims a neighbour's by mistake, the record drops its earlier claims and makes claims of another
// node's at the same time. Until that is settled, the peer keeps its earlier claims, so that traffic to them
// still goes through the tunnel, and not in plaintext. Pure.
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { LocalClaims, OwnedPeer, Ownership, Refusal } from "./model.ts";
import { Nesting, PrefixOwners } from "./prefix-owners.ts";

/** `previous`: a peer's previous record; undefined if the present one has given nothing up. */
export function holdClaims(
  ownership: Ownership,
  local: Pick<LocalClaims, "nodeIPs" | "podCIDRs">,
  previous: (peer: string) => NodeRecord | undefined,
): Ownership {
  const contested = Map.groupBy(ownership.refusals.filter(isOfPrefix), ({ peer }) => peer);
  const had = new Map<string, NodeRecord>();
  for (const { name } of ownership.peers) {
    const refusals = contested.get(name);
    const before = refusals === undefined ? undefined : previous(name);
    // A claim that it has kept is no reason to hold the claims that it has given up.
    if (refusals !== undefined && before !== undefined && claimsMore(refusals, before)) had.set(name, before);
  }
  if (had.size === 0) return ownership;
  const taken = [local, ...ownership.peers].flatMap(prefixesOf);
  const owners = new PrefixOwners(new Nesting([...taken, ...[...had.values()].flatMap(prefixesOf)]));
  for (const prefix of taken) owners.hold({ owner: noOwner, prefix });
  const peers = ownership.peers.map((peer) => {
    const before = had.get(peer.name);
    if (before === undefined) return peer;
    const isFree = (prefix: string) => owners.findOther(peer.name, prefix) === undefined;
    const podCIDRs = before.podCIDRs.filter(isFree);
    const nodeIPs = before.nodeIPs.filter((ip) => isFree(hostPrefix(ip)));
    if (podCIDRs.length + nodeIPs.length === 0) return peer;
    for (const prefix of prefixesOf({ podCIDRs, nodeIPs })) owners.hold({ owner: peer.name, prefix });
    return {
      ...peer,
      podCIDRs: [...peer.podCIDRs, ...podCIDRs],
      nodeIPs: [...peer.nodeIPs, ...nodeIPs],
    };
  });
  return { ...ownership, peers };
}

/** This is no peer's name, so that claims of a peer's present record are not held for it a second time. */
const noOwner = "";

function claimsMore(refusals: readonly Refusal[], before: NodeRecord): boolean {
  const had = new Set(prefixesOf(before));
  return refusals.some(({ claim }) => !had.has(claim));
}

/** True for claims of prefixes: a refused key or endpoint changes nothing of a peer's prefixes. */
function isOfPrefix({ claim }: { readonly claim: string }): boolean {
  return claim.includes("/") && !claim.endsWith("=");
}

function prefixesOf({ nodeIPs, podCIDRs }: Pick<OwnedPeer, "nodeIPs" | "podCIDRs">): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}
