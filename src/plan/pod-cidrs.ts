// Pod CIDRs that hold what is no pod's. Whoever routes such a network into the tunnel
// takes hosts along: the gateway, the control plane, the nodes of a whole subnet. What
// two nodes claim alike is claims.ts. Pure.

import { ipv4Number } from "../net/ip.ts";
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
 * The peers without pod CIDRs that hold one of `landmarks` (of this node, the network and the control
 * plane). What another peer says of itself takes nothing from a peer here.
 */
export function withoutHosts(ownership: Ownership, landmarks: readonly Landmark[]): Ownership {
  const holdsOne = testOf(landmarks.map(({ ip }) => ip));
  return without(ownership, ({ name, podCIDRs }) =>
    podCIDRs.some(holdsOne) ? refuseOf(name, podCIDRs, landmarks) : none,
  );
}

/** The peers without pod CIDRs that hold the peer's own node IPs or endpoints. */
export function withoutOwnHosts(ownership: Ownership): Ownership {
  return without(ownership, ({ name, podCIDRs, nodeIPs, endpoints }) => {
    const holdsOne = (cidr: string) =>
      isNetwork(cidr) &&
      (holdsAny(cidr, nodeIPs) || (!isSame(endpoints, nodeIPs) && holdsAny(cidr, endpoints)));
    if (!podCIDRs.some(holdsOne)) return none;
    const own = [...nodeIPs, ...endpoints].map((ip) => ({ ip, whose: `${name} itself` }));
    return refuseOf(name, podCIDRs, own);
  });
}

function without(ownership: Ownership, refuse: (peer: OwnedPeer) => readonly Refusal[]): Ownership {
  const refusals: Refusal[] = [];
  const peers = ownership.peers.map((peer) => {
    const refused = refuse(peer);
    if (refused.length === 0) return peer;
    refusals.push(...refused);
    return {
      ...peer,
      podCIDRs: peer.podCIDRs.filter((cidr) => !refused.some(({ claim }) => claim === cidr)),
    };
  });
  return refusals.length === 0 ? ownership : { peers, refusals: [...ownership.refusals, ...refusals] };
}

function refuseOf(peer: string, podCIDRs: readonly string[], landmarks: readonly Landmark[]): Refusal[] {
  return podCIDRs.flatMap((claim) => {
    const held = findHeldByNetwork(claim, landmarks);
    if (held === undefined) return [];
    return [{ peer, claim, owner: held.whose, reason: `of ${peer}: ${explain(claim, held)}` }];
  });
}

function holdsAny(cidr: string, ips: readonly string[]): boolean {
  for (const ip of ips) if (prefixHolds(cidr, ip)) return true;
  return false;
}

/** As nearly every record has it. */
function isSame(endpoints: readonly string[], nodeIPs: readonly string[]): boolean {
  return endpoints.length === nodeIPs.length && endpoints.every((ip, i) => ip === nodeIPs[i]);
}

/** Whether a network holds one of the addresses, for thousands of networks: IPv4 by numbers. */
function testOf(ips: readonly string[]): (cidr: string) => boolean {
  const numbers: number[] = [];
  const others: string[] = [];
  for (const ip of ips)
    if (ip.includes(":")) others.push(ip);
    else numbers.push(ipv4Number(ip));
  return (cidr) => {
    if (cidr.includes(":")) return isNetwork(cidr) && others.some((ip) => prefixHolds(cidr, ip));
    const length = Number(cidr.slice(cidr.indexOf("/") + 1));
    if (length === 32) return false;
    const size = 2 ** (32 - length);
    const first = ipv4Number(cidr);
    for (const number of numbers) if (number >= first && number < first + size) return true;
    return false;
  };
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
