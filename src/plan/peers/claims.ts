// Ownership of claims: every public key, pod CIDR and node IP has exactly one owner
// among the peers, the one that claimed it first; a key that a record proves goes
// before one that another record only names. A later claimant is refused
// with a reason, and gets the claim as soon as the owner drops it, so a CIDR may move
// between nodes in any order of events. No peer gets a claim of this node itself.
// Pure; the same claims give the same answer on every node.

import { compareText } from "../../net/human-format.ts";
import { zeroKey } from "../../net/key.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import { applyLapses, type Lapse } from "./lapses.ts";
import type { ClaimingPeer, LocalClaims, OwnedPeer, Ownership, Refusal } from "./model.ts";
import { Nesting, PrefixOwners } from "./prefix-owners.ts";

interface Claim {
  readonly peer: string;
  readonly kind: "key" | "pod CIDR" | "node IP";
  /** The key, or a canonical prefix. */
  readonly value: string;
  /** True if the record shows that its node has the key. */
  readonly isProven?: true;
}

/** Weighs all claims; a peer that carries this node's own name is left out. `lapses`: the claims that have passed from their first owners. */
export function resolveClaims(
  local: LocalClaims,
  peers: readonly ClaimingPeer[],
  lapses: readonly Lapse[] = [],
): Ownership {
  const { peers: others, refusals: lapsed } = applyLapses(
    peers.filter(({ record }) => record.name !== local.name),
    lapses,
  );
  const claims = others.flatMap(claimsOf);
  const disproved = others.flatMap((peer) => refuseDisproved(peer, local, claims));
  const nesting = nestingOf(local, claims);
  const contested = areApart(local, claims, nesting) ? [] : weigh(local, inOrder(claims, others), nesting);
  const refused = new Set([...disproved, ...contested].map(({ peer, claim }) => `${peer} ${claim}`));
  const owned = others.map(({ record }) => reduce(record, local, refused));
  const endpoints: Refusal[] = [];
  for (const { record } of others) endpoints.push(...refuseOwnEndpoints(record, local));
  return {
    peers: owned.sort((a, b) => compareText(a.name, b.name)),
    refusals: [...lapsed, ...disproved, ...contested, ...endpoints],
  };
}

/** Reduces a record to what the peer owns, which is nearly always all of it. */
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

/** Refuses the later of two claims that overlap: the common part belongs to the peer that claimed it first. */
function weigh(local: LocalClaims, claims: readonly Claim[], nesting: Nesting): Refusal[] {
  const keys = new KeyOwners(local);
  const prefixes = new PrefixOwners(nesting);
  for (const prefix of ownPrefixes(local)) prefixes.hold({ owner: local.name, prefix });
  const refusals: Refusal[] = [];
  for (const claim of claims) {
    const conflict = claim.kind === "key" ? keys.claim(claim) : claimPrefix(prefixes, claim);
    if (conflict === undefined) continue;
    const { peer, value } = claim;
    refusals.push({ peer, claim: value, owner: conflict.owner, reason: explain(claim, conflict) });
  }
  return refusals;
}

/**
 * True if no two owners want the same, which is nearly always: then the order of the claims is not
 * needed.
 */
function areApart(local: LocalClaims, claims: readonly Claim[], nesting: Nesting): boolean {
  const keyOwners = new Map(local.publicKeys.map((key) => [key, local.name]));
  const owners = new Array<string | undefined>(nesting.size).fill(undefined);
  for (const prefix of ownPrefixes(local)) owners[nesting.idOf(prefix)] = local.name;
  for (const { peer, kind, value } of claims) {
    const id = kind === "key" ? -1 : nesting.idOf(value);
    const owner = id < 0 ? keyOwners.get(value) : owners[id];
    if ((owner ?? peer) !== peer) return false;
    if (id < 0) keyOwners.set(value, peer);
    else owners[id] = peer;
  }
  // If a prefix and the one around it have one owner, so do all prefixes around it.
  return owners.every((owner, id) => {
    const outer = nesting.around(id);
    return outer < 0 || owners[outer] === owner;
  });
}

function nestingOf(local: LocalClaims, claims: readonly Claim[]): Nesting {
  const prefixes = ownPrefixes(local);
  for (const { kind, value } of claims) if (kind !== "key") prefixes.push(value);
  return new Nesting(prefixes);
}

/** Sorts proven keys first, then the earliest: a node that has only read a key was never its owner. */
function inOrder(claims: readonly Claim[], peers: readonly ClaimingPeer[]): Claim[] {
  const claimedAt = new Map(peers.map((peer) => [peer.record.name, peer.claimedAt()]));
  const numbered = claims.map((claim) => ({
    claim,
    rank: claim.isProven === true ? 0 : 1,
    seq: claimedAt.get(claim.peer)?.get(claim.value) ?? Number.MAX_SAFE_INTEGER,
  }));
  numbered.sort((a, b) => a.rank - b.rank || a.seq - b.seq || compareText(a.claim.peer, b.claim.peer));
  return numbered.map(({ claim }) => claim);
}

/** Refuses endpoints that are this node's own. Peers may share endpoints, as nodes behind one address translation do. */
function refuseOwnEndpoints({ name, endpoints }: NodeRecord, local: LocalClaims): Refusal[] {
  const own = endpoints.filter((ip) => local.nodeIPs.includes(ip));
  return own.map((ip) => ({
    peer: name,
    claim: ip,
    owner: local.name,
    reason: `endpoint ${ip} of ${name} is already ${local.name}'s`,
  }));
}

/** A proof that was made for another node, slot or key is worse than none: the key was copied. */
function refuseDisproved(
  { record, unproven = [] }: ClaimingPeer,
  local: LocalClaims,
  claims: readonly Claim[],
): Refusal[] {
  if (unproven.length === 0) return [];
  const { name: peer, slots } = record;
  const copied = slots.filter(({ slot, publicKey }) => unproven.includes(slot) && publicKey !== zeroKey);
  return copied.map(({ slot, publicKey: claim }) => {
    const isOwn = local.publicKeys.includes(claim);
    const owner = isOwn ? local.name : (claims.find(({ value }) => value === claim)?.peer ?? "");
    const whose = owner === "" ? "" : `; the key is ${owner}'s`;
    return {
      peer,
      claim,
      owner,
      reason: `key ${claim} of ${peer} has a proof that is not of ${peer}'s slot ${slot}${whose}`,
    };
  });
}

/** Returns the claims of a record, without keys whose proof failed. */
function claimsOf({ record, unproven }: ClaimingPeer): Claim[] {
  const { name: peer, slots, podCIDRs, nodeIPs } = record;
  const claims: Claim[] = [];
  for (const { slot, publicKey: value, proof } of slots)
    if (value !== zeroKey && unproven?.includes(slot) !== true)
      claims.push({ peer, kind: "key", value, ...(proof === undefined ? {} : { isProven: true }) });
  for (const value of podCIDRs) claims.push({ peer, kind: "pod CIDR", value });
  for (const ip of nodeIPs) claims.push({ peer, kind: "node IP", value: hostPrefix(ip) });
  return claims;
}

function ownPrefixes({ podCIDRs, nodeIPs }: LocalClaims): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}

interface Conflict {
  readonly owner: string;
  /** The owner's prefix. It differs from the claim if the prefixes overlap. */
  readonly held: string;
}

function explain(claim: Claim, { owner, held }: Conflict): string {
  const overlap = held === claim.value ? "is" : `overlaps ${held}, which is`;
  return `${claim.kind} ${claim.value} of ${claim.peer} ${overlap} already ${owner}'s`;
}

function claimPrefix(owners: PrefixOwners, { peer, value }: Claim): Conflict | undefined {
  const other = owners.findOther(peer, value);
  if (other !== undefined) return { owner: other.owner, held: other.prefix };
  owners.hold({ owner: peer, prefix: value });
  return undefined;
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
