// Who owns what: every public key, pod CIDR and node IP has exactly one owner
// among the peers, the one that claimed it first. A later claimant is refused
// with a reason, and gets it as soon as the owner lets go, so a CIDR may move
// between nodes in any order of events. What this node holds itself, no peer
// gets. Pure; the same claims give the same answer on every node.

import { type Family, familyOf, ipv4Number } from "../net/ip.ts";
import { zeroKey } from "../net/key.ts";
import { formatPrefix, hostPrefix, prefixBytes } from "../net/prefix.ts";
import type { NodeRecord, Slot, SlotRecord } from "../net/record.ts";
import { compareText } from "../net/words.ts";
import { applyLapses, type Lapse } from "./lapses.ts";

/** A peer's record with the order in which it claimed each key, CIDR and node IP (as /32 or /128). */
export interface ClaimingPeer {
  readonly record: NodeRecord;
  /** Sequence number a claim; lower is earlier. Asked for only where two claim the same. */
  readonly claimedAt: () => ReadonlyMap<string, number>;
}

/** What this node holds; no peer may claim any of it. */
export interface LocalClaims {
  readonly name: string;
  readonly publicKeys: readonly string[];
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
}

export interface Refusal {
  readonly peer: string;
  /** The key, CIDR or address. */
  readonly claim: string;
  readonly owner: string;
  /** A sentence for `peer list` and the log. */
  readonly reason: string;
}

/** A peer with what it owns after all claims were weighed. */
export interface OwnedPeer {
  readonly name: string;
  readonly slots: readonly SlotRecord[];
  readonly endpoints: readonly string[];
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
  /** Slots that its record offers, and whose key another node had first. Absent if there are none. */
  readonly refusedSlots?: readonly Slot[];
  /** Present if its record names endpoints, and all of them are addresses of this node. */
  readonly endpointsRefused?: true;
  /** Names of nodes that it asks to begin a handshake. */
  readonly wantsHandshakeFrom?: readonly string[];
}

export interface Ownership {
  /** Sorted by name. */
  readonly peers: readonly OwnedPeer[];
  readonly refusals: readonly Refusal[];
}

interface Claim {
  readonly peer: string;
  readonly kind: "key" | "pod CIDR" | "node IP";
  /** The key, or a canonical prefix. */
  readonly value: string;
}

/** Weighs all claims; a peer that carries this node's own name is left out. `lapses`: what has passed on from who had it first. */
export function resolveClaims(
  local: LocalClaims,
  peers: readonly ClaimingPeer[],
  lapses: readonly Lapse[] = [],
): Ownership {
  const { peers: others, refusals: lapsed } = applyLapses(
    peers.filter(({ record }) => record.name !== local.name),
    lapses,
  );
  const claims = others.flatMap(({ record }) => claimsOf(record));
  const contested = areApart(local, claims) ? [] : weigh(local, inOrder(claims, others));
  const refused = new Set(contested.map(({ peer, claim }) => `${peer} ${claim}`));
  const owned = others.map(({ record }) => reduce(record, local, refused));
  const endpoints: Refusal[] = [];
  for (const { record } of others) endpoints.push(...refuseOwnEndpoints(record, local));
  return {
    peers: owned.sort((a, b) => compareText(a.name, b.name)),
    refusals: [...lapsed, ...contested, ...endpoints],
  };
}

/** What of a record is the peer's: nearly always all of it. */
function reduce(
  record: NodeRecord,
  { nodeIPs: ownIPs }: LocalClaims,
  refused: ReadonlySet<string>,
): OwnedPeer {
  const { name, slots, endpoints, nodeIPs, podCIDRs, wantsHandshakeFrom } = record;
  const isWhole =
    refused.size === 0 &&
    slots.every(({ publicKey }) => publicKey !== zeroKey) &&
    endpoints.every((ip) => !ownIPs.includes(ip));
  if (isWhole) return record;
  const owns = (value: string) => !refused.has(`${name} ${value}`);
  const withKey = slots.filter(({ publicKey }) => publicKey !== zeroKey);
  const refusedSlots = withKey
    .filter(({ publicKey, state }) => state !== "withdrawn" && !owns(publicKey))
    .map(({ slot }) => slot);
  const usableEndpoints = endpoints.filter((ip) => !ownIPs.includes(ip));
  const endpointsRefused = endpoints.length > 0 && usableEndpoints.length === 0;
  return {
    name,
    slots: withKey.filter(({ publicKey }) => owns(publicKey)),
    endpoints: usableEndpoints,
    nodeIPs: nodeIPs.filter((ip) => owns(hostPrefix(ip))),
    podCIDRs: podCIDRs.filter(owns),
    ...(refusedSlots.length === 0 ? {} : { refusedSlots }),
    ...(endpointsRefused ? { endpointsRefused } : {}),
    ...(wantsHandshakeFrom === undefined ? {} : { wantsHandshakeFrom }),
  };
}

/** What the claims have in common is given to who claimed it first; the others are refused. */
function weigh(local: LocalClaims, claims: readonly Claim[]): Refusal[] {
  const keys = new KeyOwners(local);
  const prefixes = new PrefixOwners(local, claims);
  const refusals: Refusal[] = [];
  for (const claim of claims) {
    const conflict = claim.kind === "key" ? keys.claim(claim) : prefixes.claim(claim);
    if (conflict === undefined) continue;
    const { peer, value } = claim;
    refusals.push({ peer, claim: value, owner: conflict.owner, reason: explain(claim, conflict) });
  }
  return refusals;
}

/**
 * True where no two owners want the same, which is nearly always: then nobody
 * has to know who was first. Of two prefixes that overlap one is an ancestor of
 * the other, or the same.
 */
function areApart(local: LocalClaims, claims: readonly Claim[]): boolean {
  const owners = new Map<PrefixKey, string>();
  const isAnothers = (key: PrefixKey, peer: string) => (owners.get(key) ?? peer) !== peer;
  const lineages = new Lineages(local, claims);
  const held: { readonly peer: string; readonly lineage: readonly PrefixKey[] }[] = [];
  const hold = (peer: string, lineage: readonly PrefixKey[]) => {
    owners.set(lineage[0] as PrefixKey, peer);
    if (lineage.length > 1) held.push({ peer, lineage });
  };
  for (const key of local.publicKeys) owners.set(key, local.name);
  for (const prefix of ownPrefixes(local)) hold(local.name, lineages.of(prefix));
  for (const { peer, kind, value } of claims) {
    const lineage = kind === "key" ? [value] : lineages.of(value);
    if (isAnothers(lineage[0] as PrefixKey, peer)) return false;
    hold(peer, lineage);
  }
  for (const { peer, lineage } of held) for (const key of lineage) if (isAnothers(key, peer)) return false;
  return true;
}

/** The earliest first. */
function inOrder(claims: readonly Claim[], peers: readonly ClaimingPeer[]): Claim[] {
  const claimedAt = new Map(peers.map((peer) => [peer.record.name, peer.claimedAt()]));
  const numbered = claims.map((claim) => ({
    claim,
    seq: claimedAt.get(claim.peer)?.get(claim.value) ?? Number.MAX_SAFE_INTEGER,
  }));
  numbered.sort((a, b) => a.seq - b.seq || compareText(a.claim.peer, b.claim.peer));
  return numbered.map(({ claim }) => claim);
}

/** Endpoints may be shared, as nodes behind one address translation do; but not with the node that is to send there. */
function refuseOwnEndpoints({ name, endpoints }: NodeRecord, local: LocalClaims): Refusal[] {
  const own = endpoints.filter((ip) => local.nodeIPs.includes(ip));
  return own.map((ip) => ({
    peer: name,
    claim: ip,
    owner: local.name,
    reason: `endpoint ${ip} of ${name} is already ${local.name}'s`,
  }));
}

function claimsOf({ name: peer, slots, podCIDRs, nodeIPs }: NodeRecord): Claim[] {
  const claims: Claim[] = [];
  for (const { publicKey: value } of slots) if (value !== zeroKey) claims.push({ peer, kind: "key", value });
  for (const value of podCIDRs) claims.push({ peer, kind: "pod CIDR", value });
  for (const ip of nodeIPs) claims.push({ peer, kind: "node IP", value: hostPrefix(ip) });
  return claims;
}

function ownPrefixes({ podCIDRs, nodeIPs }: LocalClaims): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}

interface Conflict {
  readonly owner: string;
  /** What the owner holds; differs from the claim where prefixes overlap. */
  readonly held: string;
}

function explain(claim: Claim, { owner, held }: Conflict): string {
  const overlap = held === claim.value ? "is" : `overlaps ${held}, which is`;
  return `${claim.kind} ${claim.value} of ${claim.peer} ${overlap} already ${owner}'s`;
}

class KeyOwners {
  readonly #owners = new Map<string, string>();

  constructor(local: LocalClaims) {
    for (const key of local.publicKeys) this.#owners.set(key, local.name);
  }

  claim({ peer, value }: Claim): Conflict | undefined {
    const owner = this.#owners.get(value) ?? peer;
    this.#owners.set(value, owner);
    return owner === peer ? undefined : { owner, held: value };
  }
}

interface Holder {
  readonly owner: string;
  readonly prefix: string;
}

/**
 * Overlap in time proportional to the number of distinct prefix lengths: of two
 * overlapping prefixes one contains the other, so it is enough to look up a
 * prefix's ancestors among what is held, and to note the ancestors of what is
 * held for those that come later and are wider.
 */
class PrefixOwners {
  readonly #held = new Map<PrefixKey, Holder>();
  /** Ancestors of held prefixes, with the owners below them. */
  readonly #above = new Map<PrefixKey, Holder[]>();
  readonly #lineages: Lineages;

  constructor(local: LocalClaims, claims: readonly Claim[]) {
    this.#lineages = new Lineages(local, claims);
    for (const prefix of ownPrefixes(local))
      this.#hold({ owner: local.name, prefix }, this.#lineages.of(prefix));
  }

  claim({ peer, value }: Claim): Conflict | undefined {
    const lineage = this.#lineages.of(value);
    const holder = this.#findOther(peer, lineage);
    if (holder !== undefined) return { owner: holder.owner, held: holder.prefix };
    this.#hold({ owner: peer, prefix: value }, lineage);
    return undefined;
  }

  /** Whoever else holds a prefix of the lineage, or something below its first. */
  #findOther(peer: string, lineage: readonly PrefixKey[]): Holder | undefined {
    for (const key of lineage) {
      const holder = this.#held.get(key);
      if (holder !== undefined && holder.owner !== peer) return holder;
    }
    return this.#above.get(lineage[0] as PrefixKey)?.find((holder) => holder.owner !== peer);
  }

  #hold(holder: Holder, [own, ...ancestors]: readonly PrefixKey[]): void {
    this.#held.set(own as PrefixKey, holder);
    for (const ancestor of ancestors) {
      const below = this.#above.get(ancestor);
      if (below === undefined) this.#above.set(ancestor, [holder]);
      else if (!below.some((other) => other.owner === holder.owner)) below.push(holder);
    }
  }
}

/** Prefixes with the wider ones around them, at the lengths that occur at all. */
class Lineages {
  readonly #lengths: Record<Family, readonly number[]>;

  constructor(local: LocalClaims, claims: readonly Claim[]) {
    const seen = { 4: new Set<number>(), 6: new Set<number>() };
    const see = (prefix: string) => seen[familyOf(prefix)].add(lengthOf(prefix));
    for (const prefix of ownPrefixes(local)) see(prefix);
    for (const { kind, value } of claims) if (kind !== "key") see(value);
    const widestFirst = (lengths: Set<number>) => [...lengths].sort((a, b) => a - b);
    this.#lengths = { 4: widestFirst(seen[4]), 6: widestFirst(seen[6]) };
  }

  /** The prefix's own key comes first. */
  of(prefix: string): PrefixKey[] {
    const family = familyOf(prefix);
    const length = lengthOf(prefix);
    const keyAt = family === 4 ? ipv4Keys(prefix) : ipv6Keys(prefix);
    const keys = [keyAt(length)];
    for (const other of this.#lengths[family]) if (other < length) keys.push(keyAt(other));
    return keys;
  }
}

type PrefixKey = number | string;

/** Network and length in one number: a tenth of the cost of text. */
function ipv4Keys(prefix: string): (length: number) => number {
  const address = ipv4Number(prefix);
  return (length) => {
    const hostBits = 32 - length;
    // Shifting by 32 is shifting by 0 (ECMAScript's <<).
    const network = hostBits === 32 ? 0 : (address >>> hostBits) * 2 ** hostBits;
    return network * 64 + length;
  };
}

function ipv6Keys(prefix: string): (length: number) => string {
  const { bytes } = prefixBytes(prefix);
  return (length) => formatPrefix(bytes, length);
}

function lengthOf(prefix: string): number {
  return Number(prefix.slice(prefix.indexOf("/") + 1));
}
