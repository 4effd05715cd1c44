// A node IP counts once a handshake has shown that its node is there. A record is only its writer's statement:
// with it alone, a node could claim the address of a resolver or of a host on the Internet, and every
// other node would lead its pods' traffic to that address into the tunnel of the claimant.
//
//   a node IP in a record         routes, sets   allowed IPs             claims against others
//   ────────────────────────────  ─────────────  ──────────────────────  ──────────────────────────
//   proven by a handshake         yes            yes                     by the order of claims; it is
//                                                                        taken out of wider pod CIDRs
//   unproven, gate closed         no             yes: the peer's first   after all other claims
//                                                packets are not lost
//   unproven, gate open           no             if it is private or     after all other claims
//                                                near this node's own
//   unproven, of a known node     refused        no                      after all other claims
//
// A peer with an open gate may send by the tunnel already, and its second address may never be proven, for
// example if a network carries IPv6 but no tunnels over it: packets from there are accepted, unless the
// address is a landmark, another node's or the Internet's. The next hop of a route to the peer's own pods is
// no landmark then: where nodes route each other's pods, each node is one. To attract traffic needs a proof.
//
// Records that the operator of this node imports are trusted, and so is an address that is named alone
// in nodeCIDRs, unless it is a landmark: the API server, a gateway or a resolver. An address that was
// once shown to be a node's is refused to pods while another claims it: it is not reached in plaintext.
// A handshake proves that a node can send from an address and receive packets there, and no more. Pure.
import { hostPrefix, prefixContains, subtractPrefix } from "../../net/prefix.ts";
import { type Span, spanContains, spanOf } from "../../net/span.ts";
import type { Settings } from "../settings/settings.ts";
import { makeNearTest } from "./claim-bounds.ts";
import type { Landmark } from "./landmarks.ts";
import type { ClaimingPeer, OwnedPeer, Refusal } from "./model.ts";
import type { PeerObservation } from "./observation.ts";
import { slots } from "./path.ts";

/** For each peer, the node IPs that one of its handshakes came from. */
export type NodeIPProofs = ReadonlyMap<string, ReadonlySet<string>>;

export interface ProofFacts {
  readonly proofs: NodeIPProofs;
  readonly settings: Pick<Settings, "nodeCIDRs" | "mode">;
  readonly landmarks: readonly Landmark[];
  /** Peers whose records the operator of this node has imported. */
  readonly typed: ReadonlySet<string>;
  /** This node's own addresses, as prefixes. */
  readonly own: readonly string[];
}

/** True if a node IP of a peer counts. */
export type IsProven = (peer: string, ip: string) => boolean;

export function provenBy({ proofs, settings, landmarks, typed }: ProofFacts): IsProven {
  const declared = new Set(settings.nodeCIDRs);
  const places = declared.size === 0 ? new Set<string>() : new Set(landmarks.map(({ ip }) => ip));
  return (peer, ip) =>
    typed.has(peer) ||
    proofs.get(peer)?.has(ip) === true ||
    (declared.has(hostPrefix(ip)) && !places.has(ip));
}

/** A sequence number that is higher than that of any claim. */
const late = 2 ** 40;

/** Returns the peer with its unproven node IPs weighed after all other claims. */
export function weighProvenFirst(peer: ClaimingPeer, isProven: IsProven): ClaimingPeer {
  const { name, nodeIPs, podCIDRs } = peer.record;
  if (nodeIPs.every((ip) => isProven(name, ip))) return peer;
  return {
    ...peer,
    claimedAt: () => {
      const seqs = new Map(peer.claimedAt());
      for (const ip of nodeIPs) {
        const prefix = hostPrefix(ip);
        if (!isProven(name, ip) && !podCIDRs.includes(prefix))
          seqs.set(prefix, (seqs.get(prefix) ?? 0) + late);
      }
      return seqs;
    },
  };
}

/** No node's network of pods contains more nodes than this. */
const maxHoles = 16;

/** Removes addresses that are proven to be another node's from peers' pod CIDRs: the CIDR may be the older claim, but an attacker's. */
export function withoutNodes(
  peers: readonly ClaimingPeer[],
  { typed }: Pick<ProofFacts, "typed">,
  isProven: IsProven,
): { readonly peers: readonly ClaimingPeer[]; readonly refusals: readonly Refusal[] } {
  const nodes = findProvenNodes(peers, isProven);
  const refusals: Refusal[] = [];
  if (nodes.length === 0) return { peers, refusals };
  const left = peers.map((peer) => {
    const { name, podCIDRs } = peer.record;
    if (typed.has(name)) return peer;
    const parts = new Map<string, string>();
    const rest = podCIDRs.flatMap((cidr) => {
      const held = nodesIn(nodes, spanOf(cidr)).filter(({ owner }) => owner !== name);
      if (held.length === 0) return [cidr];
      const { ip, owner } = held[0] as ProvenNode;
      refusals.push({ peer: name, claim: cidr, owner, reason: explainHole(name, cidr, ip, owner) });
      const pieces = held.length > maxHoles ? [] : subtractAll(cidr, held);
      for (const piece of pieces) parts.set(piece, cidr);
      return pieces;
    });
    return parts.size === 0 && rest.length === podCIDRs.length ? peer : withPods(peer, rest, parts);
  });
  return { peers: left, refusals };
}

function explainHole(peer: string, cidr: string, ip: string, owner: string): string {
  return `pod CIDR ${cidr} of ${peer} contains ${ip}, which a handshake has proven to be of ${owner}`;
}

/** A part was claimed when the whole was. */
function withPods(
  peer: ClaimingPeer,
  podCIDRs: readonly string[],
  parts: ReadonlyMap<string, string>,
): ClaimingPeer {
  return {
    record: { ...peer.record, podCIDRs },
    claimedAt: () => {
      const seqs = new Map(peer.claimedAt());
      for (const [part, whole] of parts) seqs.set(part, seqs.get(whole) ?? late);
      return seqs;
    },
  };
}

interface ProvenNode {
  readonly ip: string;
  readonly owner: string;
  readonly span: Span;
}

/** Sorts by address. */
function findProvenNodes(peers: readonly ClaimingPeer[], isProven: IsProven): ProvenNode[] {
  const nodes = peers.flatMap(({ record: { name: owner, nodeIPs } }) =>
    nodeIPs.flatMap((ip) => (isProven(owner, ip) ? [{ ip, owner, span: spanOf(hostPrefix(ip)) }] : [])),
  );
  return nodes.sort((a, b) => compare(a.span.first, b.span.first));
}

/** Numbers and text of two families do not compare: the type stands first. */
function compare(a: number | string, b: number | string): number {
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** At most one more than may be taken out. */
function nodesIn(nodes: readonly ProvenNode[], span: Span): ProvenNode[] {
  let [low, high] = [0, nodes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare((nodes[middle] as ProvenNode).span.first, span.first) < 0) low = middle + 1;
    else high = middle;
  }
  const held: ProvenNode[] = [];
  for (let i = low; i < nodes.length && held.length <= maxHoles; i++) {
    const node = nodes[i] as ProvenNode;
    if (!spanContains(span, node.span)) break;
    held.push(node);
  }
  return held;
}

function subtractAll(cidr: string, held: readonly ProvenNode[]): string[] {
  return held.reduce(
    (pieces, { ip }) =>
      pieces.flatMap((piece) =>
        prefixContains(piece, hostPrefix(ip)) ? subtractPrefix(piece, hostPrefix(ip)) : [piece],
      ),
    [cidr],
  );
}

/**
 * Splits the node IPs of the peers into proven and unproven ones. `claimed`: for each peer, the claims that
 * may count, also if another peer has claimed them before: the node that is there may prove it.
 */
export function splitNodeIPs(
  peers: readonly OwnedPeer[],
  claimed: ReadonlyMap<string, readonly string[]>,
  facts: ProofFacts,
  isProven: IsProven,
): readonly OwnedPeer[] {
  const known = new Set([...facts.proofs.values()].flatMap((ips) => [...ips]));
  const networks = facts.settings.mode === "strict" ? facts.settings.nodeCIDRs.map(spanOf) : [];
  const isNear = makeNearTest(facts.own);
  const isPlace = makePlaceTest(facts.landmarks);
  const isSource = (peer: OwnedPeer, ip: string) => isNear(ip) && !isPlace(peer, ip) && !known.has(ip);
  const isKnown = (ip: string) =>
    known.has(ip) || networks.some((network) => spanContains(network, spanOf(hostPrefix(ip))));
  return peers.map((peer) => {
    const unprovenIPs = (claimed.get(peer.name) ?? []).filter((ip) => !isProven(peer.name, ip));
    if (unprovenIPs.length === 0) return peer;
    const [nodeIPs, earlyIPs] = [
      peer.nodeIPs.filter((ip) => isProven(peer.name, ip)),
      peer.nodeIPs.filter((ip) => unprovenIPs.includes(ip)),
    ];
    const sourceIPs = earlyIPs.filter((ip) => isSource(peer, ip));
    return { ...peer, nodeIPs, unprovenIPs, earlyIPs, sourceIPs, barredIPs: earlyIPs.filter(isKnown) };
  });
}

/** Makes a test that is true for landmarks, except for next hops that lead to nothing but the peer's own pods. */
function makePlaceTest(landmarks: readonly Landmark[]): (peer: OwnedPeer, ip: string) => boolean {
  const places = Map.groupBy(landmarks, ({ ip }) => ip);
  return ({ podCIDRs }, ip) =>
    places
      .get(ip)
      ?.some(
        ({ towards }) => towards === undefined || !podCIDRs.some((cidr) => prefixContains(cidr, towards)),
      ) === true;
}

/** Returns the refused claims of peers whose gate is open and whose addresses are unproven. */
export function refuseUnproven(peers: readonly OwnedPeer[], isOpen: (peer: string) => boolean): Refusal[] {
  return peers.flatMap(({ name: peer, earlyIPs = [] }) =>
    earlyIPs.length === 0 || !isOpen(peer)
      ? []
      : earlyIPs.map((ip) => ({
          ...{ peer, claim: hostPrefix(ip), owner: "no node", isPending: true as const },
          reason: `node IP ${ip} of ${peer} does not count: no handshake of ${peer} has come from it; if it is right, name ${hostPrefix(ip)} with --node-cidrs`,
        })),
  );
}

/**
 * Finds node IPs that the peer's latest handshakes have come from. `isOurs`: true if this node itself has set the
 * peer's endpoint at or after that handshake, by key and Unix milliseconds; then it says nothing.
 */
export function findProofs(
  unprovenIPs: readonly string[],
  observation: PeerObservation,
  isOurs: (publicKey: string, handshakeMs: number) => boolean,
): string[] {
  const shown = slots.flatMap((slot) => {
    const { publicKey, handshakeFrom, lastHandshakeMs = 0 } = observation[slot] ?? {};
    if (publicKey === undefined || handshakeFrom === undefined || lastHandshakeMs === 0) return [];
    return unprovenIPs.includes(handshakeFrom) && !isOurs(publicKey, lastHandshakeMs) ? [handshakeFrom] : [];
  });
  return [...new Set(shown)];
}

/** More than these are a flood. */
const maxContested = 64;

/** Returns addresses that a peer claims and another peer has claimed before. A handshake may still prove the owner. */
export function contestedHosts(peers: readonly OwnedPeer[]): string[] {
  const ips = peers.flatMap(({ unprovenIPs = [], earlyIPs = [] }) =>
    unprovenIPs.filter((ip) => !earlyIPs.includes(ip)),
  );
  return [...new Set(ips)].sort().slice(0, maxContested);
}
