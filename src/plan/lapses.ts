// Claims that the dead leave behind. A node that is replaced leaves a record with the address that its
// successor has now, and the record's claim is the older one. It lapses, and passes to the later
// claimant, when all of this is so:
//
//   the owner     had no session for 180 s, and was asked for a handshake meanwhile
//   the claimant  has a fresh handshake from there: a node IP from that address or another one of the
//                 owner's, pods' addresses from an address of the claimant's own
//   the claim     is given to the claimant by its Node object, or by its file in the directory
//
// Every node decides by this rule from its own sessions; the order in which records came to it plays
// no part. A claim that has lapsed stays with its new owner as if that had been first, so nothing
// flaps, and may lapse back by the same rule. Of a wider claim only the lapsed part is taken. Pure:
// time is an argument.
import { hostPrefix, prefixContains, prefixesOverlap, subtractPrefix } from "../net/prefix.ts";
import type { NodeRecord } from "../net/record.ts";
import { compareText } from "../net/words.ts";
import type { ClaimingPeer, Refusal } from "./claims.ts";
import { handshakeFreshMs } from "./diff-device.ts";
import { slots } from "./path.ts";
import type { Clocks, PeerSight, Sights } from "./sight.ts";

/** Neither a handshake nor anything that needs a session came from the owner for so long. */
const deadMs = 180_000;
/** A peer that is asked when its session has ended answers within seconds, also if a first try is lost. */
const answerMs = 30_000;
/** Younger than this, a handshake shows where its peer is now. */
const freshMs = 150_000;

/** A prefix that has passed from its owner to a later claimant. */
export interface Lapse {
  readonly owner: string;
  readonly claimant: string;
  /** As the claimant's record has it: a pod CIDR, or a node IP as /32 or /128. */
  readonly claim: string;
}

/** What the owners have left of their records, and why. A lapse whose parties claim something else by now is nothing. */
export function applyLapses(
  peers: readonly ClaimingPeer[],
  lapses: readonly Lapse[],
): { readonly peers: readonly ClaimingPeer[]; readonly refusals: readonly Refusal[] } {
  const left = new Map(peers.map((peer) => [peer.record.name, peer]));
  const refusals: Refusal[] = [];
  for (const lapse of lapses) {
    const owner = left.get(lapse.owner);
    const claimant = left.get(lapse.claimant)?.record;
    if (owner === undefined || claimant === undefined || !hasClaim(claimant, lapse.claim)) continue;
    if (!prefixesOf(owner.record).some((prefix) => prefixesOverlap(prefix, lapse.claim))) continue;
    left.set(lapse.owner, without(owner, lapse.claim));
    refusals.push(explain(lapse));
  }
  return { peers: [...left.values()], refusals };
}

function without({ record, claimedAt }: ClaimingPeer, claim: string): ClaimingPeer {
  const parts = new Map<string, string>();
  const podCIDRs = record.podCIDRs.flatMap((cidr) => {
    if (prefixContains(claim, cidr)) return [];
    if (!prefixContains(cidr, claim)) return [cidr];
    const rest = subtractPrefix(cidr, claim);
    for (const part of rest) parts.set(part, cidr);
    return rest;
  });
  const nodeIPs = record.nodeIPs.filter((ip) => !prefixContains(claim, hostPrefix(ip)));
  return {
    record: { ...record, nodeIPs, podCIDRs },
    // A part was claimed when the whole was.
    claimedAt: () => {
      const known = claimedAt();
      const ofParts = [...parts].flatMap(([part, whole]) => {
        const seq = known.get(whole);
        return seq === undefined ? [] : [[part, seq] as const];
      });
      return new Map([...known, ...ofParts]);
    },
  };
}

function explain({ owner, claimant, claim }: Lapse): Refusal {
  return {
    ...{ peer: owner, claim, owner: claimant },
    reason: `${claim} of ${owner} has lapsed: ${owner} had no session, and ${claimant}, which has it now, does`,
  };
}

export interface LapseFacts {
  /** This node's name. */
  readonly node: string;
  readonly refusals: readonly Refusal[];
  /** The records of all that the refusals name, as they came. */
  readonly records: ReadonlyMap<string, NodeRecord>;
  /** As stored. */
  readonly lapses: readonly Lapse[];
  readonly sights: Sights;
  /** By owner, since when it is asked for a handshake: Unix milliseconds, as stored. */
  readonly askedSinceMs: ReadonlyMap<string, number>;
  /** The same for this process, on the clock that only goes forward. */
  readonly askedHereMs: ReadonlyMap<string, number>;
  /** True if the API's Node object, or the directory's file, gives this to the node. */
  readonly isGiven: (node: string, claim: string, kind: "node IP" | "pod CIDR") => boolean;
}

export interface LapsePlan {
  /** All that stand from now on. */
  readonly lapses: readonly Lapse[];
  /** Those that have come, also if they end an earlier one. */
  readonly come: readonly Lapse[];
  /** Owners that are asked for a handshake. */
  readonly asked: ReadonlySet<string>;
  /** Peers with whom a session is wanted, whether anything is sent or not. */
  readonly wanted: ReadonlySet<string>;
}

export function planLapses(facts: LapseFacts, clocks: Clocks): LapsePlan {
  const { lapses: before, refusals, node } = facts;
  const isActive = ({ owner, claimant }: Lapse) =>
    refusals.some((refusal) => refusal.peer === owner && refusal.owner === claimant);
  const isReturn = (one: Lapse) => (other: Lapse) =>
    one.owner === other.claimant && one.claimant === other.owner && prefixesOverlap(one.claim, other.claim);
  const come: Lapse[] = [];
  const asked = new Set<string>();
  const wanted = new Set<string>();
  for (const contest of contestsOf(refusals, node)) {
    const { owner, claimant } = contest;
    const kind = kindOf(facts, contest);
    if (kind === undefined || !facts.isGiven(claimant, contest.claim, kind)) continue;
    // Who has lost a claim because it was dead is not asked for ever.
    if (!before.some(isReturn(contest))) wanted.add(claimant);
    if (!isThere(facts, contest, kind, clocks.nowMs)) continue;
    asked.add(owner);
    wanted.add(owner);
    const isTaken = come.some((other) => prefixesOverlap(other.claim, contest.claim));
    if (!isTaken && isDead(facts, owner, clocks)) come.push(contest);
  }
  const kept = before.filter((lapse) => isActive(lapse) && !come.some(isReturn(lapse)));
  const added = come.filter((lapse) => !before.some(isReturn(lapse)));
  return {
    lapses: added.length === 0 && kept.length === before.length ? before : [...kept, ...added],
    come,
    asked,
    wanted,
  };
}

/** Two nodes that both want what a dead one had are weighed in the order of their names, on every node. */
function contestsOf(refusals: readonly Refusal[], node: string): Lapse[] {
  return refusals
    .filter(({ owner, claim }) => owner !== node && isPrefix(claim))
    .map(({ owner, peer, claim }) => ({ owner, claimant: peer, claim }))
    .sort((a, b) => compareText(a.claimant, b.claimant) || compareText(a.claim, b.claim));
}

/** A refused key has a slash now and then, and ends as no prefix does; a refused endpoint has no length. */
function isPrefix(claim: string): boolean {
  return claim.includes("/") && !claim.endsWith("=");
}

/** Undefined if the claim is none of a peer's any more, or what stands against it is no peer's. */
function kindOf(
  { records }: LapseFacts,
  { owner, claimant, claim }: Lapse,
): "node IP" | "pod CIDR" | undefined {
  const record = records.get(claimant);
  if (record === undefined || !records.has(owner)) return undefined;
  if (record.nodeIPs.some((ip) => hostPrefix(ip) === claim)) return "node IP";
  return record.podCIDRs.some((cidr) => prefixesOverlap(cidr, claim)) ? "pod CIDR" : undefined;
}

/** True if a fresh handshake of the claimant came from where the claim says that it is. */
function isThere(
  { records, sights }: LapseFacts,
  { owner, claimant, claim }: Lapse,
  kind: "node IP" | "pod CIDR",
  nowMs: number,
): boolean {
  const places = kind === "node IP" ? addressesOf(records.get(owner)) : addressesOf(records.get(claimant));
  const isPlace = (ip: string) => places.includes(ip) || (kind === "node IP" && hostPrefix(ip) === claim);
  return slots.some((slot) => {
    const { handshakeAtMs, handshakeFrom } = sights.get(claimant)?.[slot] ?? {};
    if (handshakeAtMs === undefined || handshakeFrom === undefined) return false;
    return nowMs - handshakeAtMs < freshMs && isPlace(handshakeFrom);
  });
}

function isDead(facts: LapseFacts, owner: string, { nowMs, wallMs }: Clocks): boolean {
  const sight = facts.sights.get(owner) ?? {};
  const handshakeAtMs = latest(sight, "handshakeAtMs");
  const sinceMs = facts.askedSinceMs.get(owner) ?? wallMs;
  const signAtMs = Math.max(handshakeAtMs, latest(sight, "heardAtMs"));
  // Of one that never had a session, the time since it was first asked counts; that survives a restart.
  const lastMs = signAtMs === Number.NEGATIVE_INFINITY ? nowMs - (wallMs - sinceMs) : signAtMs;
  const isAnswerDue =
    nowMs - (facts.askedHereMs.get(owner) ?? nowMs) >= answerMs &&
    nowMs - handshakeAtMs >= handshakeFreshMs + answerMs;
  return nowMs - lastMs >= deadMs && isAnswerDue;
}

function latest(sight: PeerSight, time: "handshakeAtMs" | "heardAtMs"): number {
  return Math.max(...slots.map((slot) => sight[slot]?.[time] ?? Number.NEGATIVE_INFINITY));
}

function addressesOf(record: NodeRecord | undefined): readonly string[] {
  return [...(record?.nodeIPs ?? []), ...(record?.endpoints ?? [])];
}

function prefixesOf({ nodeIPs, podCIDRs }: NodeRecord): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}

function hasClaim(record: NodeRecord, claim: string): boolean {
  return prefixesOf(record).includes(claim);
}
