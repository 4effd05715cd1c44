// Who owns what: every public key, pod CIDR and node IP has exactly one owner
// among the peers, the one that claimed it first. A later claimant is refused
// with a reason, and gets it as soon as the owner lets go, so a CIDR may move
// between nodes in any order of events. What this node holds itself, no peer
// gets. Pure; the same claims give the same answer on every node.

import { type Family, familyBits, familyOf } from "../net/ip.ts";
import { zeroKey } from "../net/key.ts";
import { formatPrefix, hostPrefix, prefixBytes } from "../net/prefix.ts";
import type { NodeRecord, SlotRecord } from "../net/record.ts";

/** A peer's record with the order in which it claimed each key, CIDR and node IP (as /32 or /128). */
export interface ClaimingPeer {
  readonly record: NodeRecord;
  /** Sequence number a claim; lower is earlier. */
  readonly claimedAt: ReadonlyMap<string, number>;
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
  readonly seq: number;
}

/** Weighs all claims; a peer that carries this node's own name is left out. */
export function resolveClaims(local: LocalClaims, peers: readonly ClaimingPeer[]): Ownership {
  const others = peers.filter(({ record }) => record.name !== local.name);
  const claims = others.flatMap(claimsOf).sort((a, b) => a.seq - b.seq || compareText(a.peer, b.peer));
  const keys = new KeyOwners(local);
  const prefixes = new PrefixOwners(local, claims);
  const refusals: Refusal[] = [];
  const refused = new Set<string>();
  for (const claim of claims) {
    const conflict = claim.kind === "key" ? keys.claim(claim) : prefixes.claim(claim);
    if (conflict === undefined) continue;
    refused.add(`${claim.peer} ${claim.value}`);
    refusals.push({
      peer: claim.peer,
      claim: claim.value,
      owner: conflict.owner,
      reason: explain(claim, conflict),
    });
  }
  for (const { record } of others) refusals.push(...refuseOwnEndpoints(record, local));
  const owns = (peer: string, value: string) => refused.size === 0 || !refused.has(`${peer} ${value}`);
  const owned = others.map(({ record }) => ({
    name: record.name,
    slots: record.slots.filter((slot) => slot.publicKey !== zeroKey && owns(record.name, slot.publicKey)),
    endpoints: record.endpoints.filter((ip) => !local.nodeIPs.includes(ip)),
    nodeIPs: record.nodeIPs.filter((ip) => owns(record.name, hostPrefix(ip))),
    podCIDRs: record.podCIDRs.filter((cidr) => owns(record.name, cidr)),
  }));
  return { peers: owned.sort((a, b) => compareText(a.name, b.name)), refusals };
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

function claimsOf({ record, claimedAt }: ClaimingPeer): Claim[] {
  const claim = (kind: Claim["kind"]) => (value: string) => ({
    peer: record.name,
    kind,
    value,
    seq: claimedAt.get(value) ?? Number.MAX_SAFE_INTEGER,
  });
  return [
    ...record.slots
      .map((slot) => slot.publicKey)
      .filter((key) => key !== zeroKey)
      .map(claim("key")),
    ...record.podCIDRs.map(claim("pod CIDR")),
    ...record.nodeIPs.map(hostPrefix).map(claim("node IP")),
  ];
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
  readonly #lengths: Record<Family, readonly number[]>;

  constructor(local: LocalClaims, claims: readonly Claim[]) {
    const own = [...local.podCIDRs, ...local.nodeIPs.map(hostPrefix)];
    const all = [...own];
    for (const claim of claims) if (claim.kind !== "key") all.push(claim.value);
    this.#lengths = { 4: lengthsOf(4, all), 6: lengthsOf(6, all) };
    for (const prefix of own) this.#hold({ owner: local.name, prefix }, this.#lineage(prefix));
  }

  claim({ peer, value }: Claim): Conflict | undefined {
    const lineage = this.#lineage(value);
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

  /** Keys of a prefix and of the wider ones around it, at the lengths that occur at all. */
  #lineage(prefix: string): PrefixKey[] {
    const { bytes, length } = prefixBytes(prefix);
    const keys = [prefixKey(bytes, length)];
    for (const other of this.#lengths[familyOf(prefix)])
      if (other < length) keys.push(prefixKey(bytes, other));
    return keys;
  }
}

type PrefixKey = number | string;

/** IPv4: network and length in one number, a tenth of the cost of text; IPv6: canonical text. */
function prefixKey(bytes: Uint8Array, length: number): PrefixKey {
  if (bytes.length !== 4) return formatPrefix(bytes, length);
  const [a = 0, b = 0, c = 0, d = 0] = bytes;
  const address = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  const hostBits = 32 - length;
  // Shifting by 32 is shifting by 0 (ECMAScript's <<).
  const network = hostBits === 32 ? 0 : (address >>> hostBits) * 2 ** hostBits;
  return network * 64 + length;
}

function lengthsOf(family: Family, prefixes: readonly string[]): number[] {
  const seen = new Uint8Array(familyBits(family) + 1);
  for (const prefix of prefixes)
    if (familyOf(prefix) === family) seen[Number(prefix.slice(prefix.indexOf("/") + 1))] = 1;
  return [...seen.keys()].filter((length) => seen[length] === 1);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
