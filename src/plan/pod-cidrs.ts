// Pod CIDRs that hold what is no pod's. Whoever routes such a network into the tunnel
// takes hosts along: the gateway, the control plane, the nodes of a whole subnet. What
// two nodes claim alike is claims.ts. Pure.

import { prefixHolds } from "../net/prefix.ts";
import type { OwnedPeer, Ownership, Refusal } from "./claims.ts";
import { findHeld, type Landmark } from "./landmarks.ts";

/** What of the CIDRs of one node holds an address that is no pod's: a sentence each. */
export function refusePodCIDRs(podCIDRs: readonly string[], landmarks: readonly Landmark[]): string[] {
  return podCIDRs.flatMap((cidr) => {
    const held = findHeldByNetwork(cidr, landmarks);
    return held === undefined ? [] : [explain(cidr, held)];
  });
}

/**
 * The peers without pod CIDRs that hold their own node IPs or endpoints, or one of `landmarks`:
 * of this node, the network and the control plane. What another peer says of itself takes nothing
 * from a peer here.
 */
export function withoutHosts(ownership: Ownership, landmarks: readonly Landmark[]): Ownership {
  const refusals: Refusal[] = [];
  const peers = ownership.peers.map((peer) => {
    const refused = refuseOf(peer, landmarks);
    if (refused.length === 0) return peer;
    refusals.push(...refused);
    return {
      ...peer,
      podCIDRs: peer.podCIDRs.filter((cidr) => !refused.some(({ claim }) => claim === cidr)),
    };
  });
  return refusals.length === 0 ? ownership : { peers, refusals: [...ownership.refusals, ...refusals] };
}

function refuseOf(peer: OwnedPeer, landmarks: readonly Landmark[]): readonly Refusal[] {
  const { name, nodeIPs, endpoints } = peer;
  const holds = (cidr: string) => (ip: string) => prefixHolds(cidr, ip);
  const networks = peer.podCIDRs.filter(
    (cidr) =>
      isNetwork(cidr) &&
      (nodeIPs.some(holds(cidr)) ||
        endpoints.some(holds(cidr)) ||
        landmarks.some(({ ip }) => prefixHolds(cidr, ip))),
  );
  if (networks.length === 0) return none;
  const own = [...nodeIPs, ...endpoints].map((ip) => ({ ip, whose: `${name} itself` }));
  return networks.flatMap((claim) => {
    const held = findHeldByNetwork(claim, own) ?? findHeldByNetwork(claim, landmarks);
    if (held === undefined) return [];
    return [{ peer: name, claim, owner: held.whose, reason: `of ${name}: ${explain(claim, held)}` }];
  });
}

/** Of nearly every peer. */
const none: readonly Refusal[] = [];

/** One address is whoever claimed it first's: claims.ts. */
function isNetwork(cidr: string): boolean {
  return !cidr.endsWith(cidr.includes(":") ? "/128" : "/32");
}

function findHeldByNetwork(cidr: string, landmarks: readonly Landmark[]): Landmark | undefined {
  return isNetwork(cidr) ? findHeld(cidr, landmarks) : undefined;
}

function explain(cidr: string, { ip, whose }: Landmark): string {
  return `pod CIDR ${cidr} holds ${ip}, which is ${whose}, and so is no network of pods alone`;
}
