// Claims that a peer keeps while its record is contested. Two nodes that exchange their addresses, and a
// record that claims a neighbour's by mistake, give up in one breath what they had and claim what is
// another's. Until that is settled, what the peer had stays its own: what is sent there goes on through
// the tunnel, and not in plaintext. Pure.
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import type { LocalClaims, OwnedPeer, Ownership, Refusal } from "./model.ts";
import { Nesting, PrefixOwners } from "./prefix-owners.ts";

/** `previous`: what a peer's record said before; undefined if the present one has given nothing up. */
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
    // A claim that it has kept is no reason to hold what it has given up.
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

/** No peer's name: also what a peer has by its present record is not held for it a second time. */
const noOwner = "";

function claimsMore(refusals: readonly Refusal[], before: NodeRecord): boolean {
  const had = new Set(prefixesOf(before));
  return refusals.some(({ claim }) => !had.has(claim));
}

/** A refused key changes nothing of what a peer has, nor does an endpoint. */
function isOfPrefix({ claim }: { readonly claim: string }): boolean {
  return claim.includes("/") && !claim.endsWith("=");
}

function prefixesOf({ nodeIPs, podCIDRs }: Pick<OwnedPeer, "nodeIPs" | "podCIDRs">): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}
