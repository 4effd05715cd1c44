// Decides which claims of a peer count at all, before claims.ts decides which peer was first. A node that
// writes its own record could otherwise draw the traffic of the whole cluster by claiming the address
// of the API server, of a resolver or a gateway, the network of the services, or a part of the Internet.
//
//   a claim                            counts if
//   ─────────────────────────────────  ─────────────────────────────────────────────────────────────
//   pod CIDR                           nothing of it is reserved, and it holds no landmark nor its node
//   pod CIDR from peers (directory,   it is in clusterCIDRs; if these name none of its family, it is
//   Kubernetes API)                    no part of the Internet, or it is near this node's own pods
//   node IP                            it is not reserved, and this node does not have it
//   node IP from peers                it is in nodeCIDRs, if these name a network of its family
//
// A landmark where a node may be (API server, gateway, resolver) is a node IP only for the node that
// a handshake has shown to be there, whatever is declared (node-ip-proof.ts). Records that the operator of
// this node imports are trusted. Pure.
import { type Family, familyOf } from "../../net/ip.ts";
import { keepFor } from "../../net/keep.ts";
import { hostPrefix, parsePrefix, prefixContains } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import { type Span, spanContains, spanOf, spansOverlap } from "../../net/span.ts";
import { privateNetworks, reservedNetworks } from "../../net/special.ts";
import type { Settings } from "../settings/settings.ts";
import type { Landmark } from "./landmarks.ts";
import type { ClaimingPeer, Refusal } from "./model.ts";

/** A network in which no node and no pod is. */
export interface ReservedNetwork {
  readonly network: string;
  /** The network's purpose, as it stands in a sentence. */
  readonly whose: string;
}

export interface ClaimBounds {
  readonly settings: Pick<Settings, "clusterCIDRs" | "nodeCIDRs">;
  /** The claims and landmarks of this node. */
  readonly podCIDRs: readonly string[];
  readonly landmarks: readonly Landmark[];
  /** Networks of this cluster that no pod is in, beside those that are so everywhere. */
  readonly reserved: readonly ReservedNetwork[];
}

/** The reason why a pod CIDR or a node IP does not count: a landmark, or a sentence. */
interface Objection {
  readonly owner: string;
  readonly why: string;
}

export interface BoundedRecord {
  /** The record itself if all of it counts. */
  readonly record: NodeRecord;
  readonly refusals: readonly Refusal[];
}

export type ClaimJudge = (record: NodeRecord, isTyped: boolean) => BoundedRecord;

/**
 * Returns a function that makes the judge of bounds. As long as the bounds stand it is the same judge, which judges a record
 * only once: of thousands of records few change, and those that stay are the same objects.
 */
export function keepClaimJudge(): (bounds: ClaimBounds) => ClaimJudge {
  let last: { readonly bounds: ClaimBounds; readonly judge: ClaimJudge } | undefined;
  return (bounds) => {
    if (last === undefined || !Bun.deepEquals(bounds, last.bounds)) {
      const fresh = claimJudge(bounds);
      const typed = keepFor((record: NodeRecord) => fresh(record, true));
      const others = keepFor((record: NodeRecord) => fresh(record, false));
      last = { bounds, judge: (record, isTyped) => (isTyped ? typed : others)(record) };
    }
    return last.judge;
  };
}

/** Judges one record after the other by the same bounds. `isTyped`: the operator of this node has imported it. */
export function claimJudge(bounds: ClaimBounds): ClaimJudge {
  const podNetworks = podNetworksOf(bounds);
  const nodeNetworks = byFamily(bounds.settings.nodeCIDRs);
  const refuses = objectorOf(bounds);
  const judgePods = (cidr: string, isTyped: boolean): Objection | undefined => {
    const span = spanOf(cidr);
    const held = refuses(span, cidr);
    if (held !== undefined || isTyped) return held;
    const { spans, reason } = podNetworks[familyOf(cidr)];
    return spans.some((network) => spanContains(network, span)) ? undefined : reason;
  };
  const judgeHost = (ip: string, isTyped: boolean): Objection | undefined => {
    const span = spanOf(hostPrefix(ip));
    const held = refuses(span, hostPrefix(ip), true);
    if (held !== undefined || isTyped) return held;
    const declared = nodeNetworks[familyOf(ip)];
    if (declared.length === 0 || declared.some((network) => spanContains(network, span))) return undefined;
    return { owner: "no node", why: "is not in the nodes' networks (nodeCIDRs)" };
  };
  return (record, isTyped) => {
    const refusals: Refusal[] = [];
    const findOwnHost = ownHostsOf(record);
    const takes = (what: string, claim: string, objection: Objection | undefined) => {
      if (objection === undefined) return true;
      const { owner, why } = objection;
      refusals.push({ peer: record.name, claim, owner, reason: `${what} ${claim} of ${record.name} ${why}` });
      return false;
    };
    const podCIDRs = record.podCIDRs.filter((cidr) =>
      takes("pod CIDR", cidr, judgePods(cidr, isTyped) ?? findOwnHost(cidr)),
    );
    const nodeIPs = record.nodeIPs.filter((ip) => takes("node IP", hostPrefix(ip), judgeHost(ip, isTyped)));
    return { record: refusals.length === 0 ? record : { ...record, podCIDRs, nodeIPs }, refusals };
  };
}

/** True if a pod CIDR contains its own node: no network of pods does, but one pod may have the node's address. */
function ownHostsOf({ name, nodeIPs, endpoints }: NodeRecord): (cidr: string) => Objection | undefined {
  const hosts = [...new Set([...nodeIPs, ...endpoints])].map((ip) => ({ ip, span: spanOf(hostPrefix(ip)) }));
  return (cidr) => {
    const span = spanOf(cidr);
    const held = span.first === span.last ? undefined : hosts.find((host) => spanContains(span, host.span));
    return held === undefined
      ? undefined
      : { owner: `${name} itself`, why: explainHeld(held.ip, `${name} itself`) };
  };
}

/** Returns the peers with the claims that count, and the refused claims. */
export function boundClaims(
  peers: readonly (ClaimingPeer & { readonly isTyped: boolean })[],
  judge: ClaimJudge,
): { readonly peers: readonly ClaimingPeer[]; readonly refusals: readonly Refusal[] } {
  const refusals: Refusal[] = [];
  const bounded = peers.map((peer) => {
    const judged = judge(peer.record, peer.isTyped);
    if (judged.refusals.length === 0) return peer;
    refusals.push(...judged.refusals);
    return { ...peer, record: judged.record };
  });
  return { peers: bounded, refusals };
}

interface PodNetworks {
  readonly spans: readonly Span[];
  /** The reason why an address outside all of them does not count. */
  readonly reason: Objection;
}

/** Makes a test that is true for addresses that are private, or near addresses of this cluster: these are no part of the Internet elsewhere. */
export function makeNearTest(prefixes: readonly string[]): (ip: string) => boolean {
  const spans = byFamily([...privateNetworks, ...prefixes.map(widen)]);
  return (ip) => spans[familyOf(ip)].some((network) => spanContains(network, spanOf(hostPrefix(ip))));
}

function podNetworksOf({ settings, podCIDRs }: ClaimBounds): Record<Family, PodNetworks> {
  const declared = byFamily(settings.clusterCIDRs);
  const derived = byFamily([...privateNetworks, ...podCIDRs.map(widen)]);
  const networksOf = (family: Family) =>
    declared[family].length > 0
      ? { spans: declared[family], reason: { owner: "no node", why: "is not in the cluster CIDRs" } }
      : { spans: derived[family], reason: { owner: "the Internet", why: publicReason } };
  return { 4: networksOf(4), 6: networksOf(6) };
}

const publicReason =
  "is a part of the Internet, and not near this node's own pods: if pods have it, name it with --cluster-cidrs";

/** A cluster with public addresses has them from one allocation, at least of this width. */
const allocation = { 4: 16, 6: 48 } as const;

function widen(cidr: string): string {
  const slash = cidr.indexOf("/");
  const length = Math.min(allocation[familyOf(cidr)], Number(cidr.slice(slash + 1)));
  return parsePrefix(`${cidr.slice(0, slash)}/${length}`);
}

function byFamily(prefixes: readonly string[]): Record<Family, readonly Span[]> {
  const of = (family: Family) => prefixes.filter((prefix) => familyOf(prefix) === family).map(spanOf);
  return { 4: of(4), 6: of(6) };
}

/** Judges by the reserved networks and the landmarks. A node may have thousands of next hops, so they are sorted once. */
function objectorOf({
  landmarks,
  reserved,
}: ClaimBounds): (span: Span, prefix: string, isNode?: boolean) => Objection | undefined {
  const networks = [...reservedNetworks, ...reserved].map((one) => ({ ...one, span: spanOf(one.network) }));
  const points = { 4: sorted(landmarks, 4), 6: sorted(landmarks, 6) };
  return (span, prefix, isNode = false) => {
    const network = networks.find((one) => spansOverlap(one.span, span));
    if (network !== undefined)
      return { owner: network.whose, why: `overlaps ${network.network}, which is ${network.whose}` };
    const landmark = findWithin(points[familyOf(prefix)], span, (one) => isHeld(one, span, prefix, isNode));
    if (landmark === undefined) return undefined;
    const { ip, whose } = landmark;
    return { owner: whose, why: isNode ? `is ${whose}` : explainHeld(ip, whose) };
  };
}

function isHeld(
  { towards, alone, mayBeNode }: Landmark,
  { first, last }: Span,
  prefix: string,
  isNode: boolean,
) {
  if (isNode) return mayBeNode !== true;
  if (alone === true && first !== last) return false;
  return towards === undefined || !prefixContains(prefix, towards);
}

function explainHeld(ip: string, whose: string): string {
  return `holds ${ip}, which is ${whose}, and so is no network of pods alone`;
}

interface Point {
  readonly at: number | string;
  readonly landmark: Landmark;
}

function sorted(landmarks: readonly Landmark[], family: Family): readonly Point[] {
  const points = landmarks.filter(({ ip }) => familyOf(ip) === family);
  return points
    .map((landmark) => ({ at: spanOf(hostPrefix(landmark.ip)).first, landmark }))
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
}

/** Returns the first address in the span that the test holds for. */
function findWithin(
  points: readonly Point[],
  { first, last }: Span,
  test: (landmark: Landmark) => boolean,
): Landmark | undefined {
  let [low, high] = [0, points.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((points[middle] as Point).at < first) low = middle + 1;
    else high = middle;
  }
  for (let i = low; i < points.length; i++) {
    const { at, landmark } = points[i] as Point;
    if (at > last) return undefined;
    if (test(landmark)) return landmark;
  }
  return undefined;
}
