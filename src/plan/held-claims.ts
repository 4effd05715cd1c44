// What a peer keeps while its record is contested. Two nodes that exchange their addresses, and a
// record that claims a neighbour's by mistake, give up in one breath what they had and claim what is
// another's. Until that is settled, what the peer had stays its own: what is sent there goes on through
// the tunnel, and not in plaintext. Pure.
import { hostPrefix, prefixesOverlap } from "../net/prefix.ts";
import type { NodeRecord } from "../net/record.ts";
import type { LocalClaims, OwnedPeer, Ownership } from "./claims.ts";

/** `previous`: what a peer's record said before; undefined if the present one has given nothing up. */
export function holdClaims(
  ownership: Ownership,
  local: Pick<LocalClaims, "nodeIPs" | "podCIDRs">,
  previous: (peer: string) => NodeRecord | undefined,
): Ownership {
  const contested = Map.groupBy(ownership.refusals.filter(isOfPrefix), ({ peer }) => peer);
  if (contested.size === 0) return ownership;
  const taken = [local, ...ownership.peers].flatMap(prefixesOf);
  const peers = ownership.peers.map((peer) => {
    const refusals = contested.get(peer.name);
    const before = refusals === undefined ? undefined : previous(peer.name);
    if (refusals === undefined || before === undefined) return peer;
    // What it had claimed before, too, is no reason for what it has given up.
    const had = prefixesOf(before);
    if (refusals.every(({ claim }) => had.includes(claim))) return peer;
    const isFree = (prefix: string) => !taken.some((held) => prefixesOverlap(held, prefix));
    const podCIDRs = before.podCIDRs.filter(isFree);
    const nodeIPs = before.nodeIPs.filter((ip) => isFree(hostPrefix(ip)));
    if (podCIDRs.length + nodeIPs.length === 0) return peer;
    taken.push(...prefixesOf({ podCIDRs, nodeIPs }));
    return {
      ...peer,
      podCIDRs: [...peer.podCIDRs, ...podCIDRs],
      nodeIPs: [...peer.nodeIPs, ...nodeIPs],
    };
  });
  return { ...ownership, peers };
}

/** A refused key changes nothing of what a peer has, nor does an endpoint. */
function isOfPrefix({ claim }: { readonly claim: string }): boolean {
  return claim.includes("/") && !claim.endsWith("=");
}

function prefixesOf({ nodeIPs, podCIDRs }: Pick<OwnedPeer, "nodeIPs" | "podCIDRs">): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}
