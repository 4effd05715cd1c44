// Finds claims that lapse. A node that is replaced leaves a record with the address that its successor has
// now, and the record's claim is the older one. The claim passes to the later claimant if all of this is
// true:
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

import { compareText } from "../../net/human-format.ts";
import { hostPrefix } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import { type Span, spanOf, spansOverlap } from "../../net/span.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import type { ClaimingPeer, Refusal } from "./model.ts";
import type { Clocks, PeerObservation, PeerObservations } from "./observation.ts";
import { slots } from "./path.ts";
import { Nesting, PrefixOwners } from "./prefix-owners.ts";
import { Remainder } from "./remainder.ts";

/** An owner is dead if neither a handshake nor anything that needs a session came from it for so long. */
const deadMs = rejectAfterMs;
/** A peer that is asked when its session has ended answers within seconds, also if a first try is lost. */
const answerMs = 30_000;
/** A handshake younger than this shows where its peer is now. */
const freshMs = 150_000;
/** The most lapses of one owner: more than the addresses of a node's pods. Each may split a network into a hundred parts. */
const maxLapses = 256;

/** A prefix that has passed from its owner to a later claimant. */
export interface Lapse {
  readonly owner: string;
  readonly claimant: string;
  /** The claim as the claimant's record has it: a pod CIDR, or a node IP as /32 or /128. */
  readonly claim: string;
}

/** Returns the peers with the claims that the owners keep, and the refused ones. A lapse has no effect if its parties claim something else by now. */
export function applyLapses(
  peers: readonly ClaimingPeer[],
  lapses: readonly Lapse[],
): { readonly peers: readonly ClaimingPeer[]; readonly refusals: readonly Refusal[] } {
  if (lapses.length === 0) return { peers, refusals: [] };
  const records = new Map(peers.map(({ record }) => [record.name, record]));
  const left = new Map<string, Remainder>();
  const claims = new Map<string, ReadonlySet<string>>();
  const refusals: Refusal[] = [];
  for (const lapse of lapses) {
    const owner = records.get(lapse.owner);
    const claimant = records.get(lapse.claimant);
    if (owner === undefined || claimant === undefined) continue;
    // A claimant may have lost its claim to a third peer.
    const has =
      claims.get(lapse.claimant) ?? new Set(prefixesOf(left.get(lapse.claimant)?.record ?? claimant));
    claims.set(lapse.claimant, has);
    if (!has.has(lapse.claim)) continue;
    const remainder = left.get(lapse.owner) ?? new Remainder(owner);
    left.set(lapse.owner, remainder);
    if (!remainder.take(lapse.claim)) continue;
    claims.delete(lapse.owner);
    refusals.push(explain(lapse));
  }
  return { peers: peers.map((peer) => reduce(peer, left.get(peer.record.name))), refusals };
}

function reduce(peer: ClaimingPeer, left: Remainder | undefined): ClaimingPeer {
  if (left === undefined) return peer;
  return {
    record: left.record,
    // A part was claimed when the whole was.
    claimedAt: () => {
      const known = peer.claimedAt();
      const ofParts = [...left.wholes].flatMap(([part, whole]) => {
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
  /** The value as the store has it. */
  readonly lapses: readonly Lapse[];
  readonly observations: PeerObservations;
  /** For each owner, the time since which it is asked for a handshake: Unix milliseconds, as stored. */
  readonly askedSinceMs: ReadonlyMap<string, number>;
  /** The same times for this process, on the clock that only goes forward. */
  readonly askedHereMs: ReadonlyMap<string, number>;
  /** True if the API's Node object, or the directory's file, gives this to the node. */
  readonly isGiven: (node: string, claim: string, kind: "node IP" | "pod CIDR") => boolean;
}

export interface LapsePlan {
  /** All lapses from now on. */
  readonly lapses: readonly Lapse[];
  /** The new lapses, also those that end an earlier one. */
  readonly come: readonly Lapse[];
  /** The owners that are asked for a handshake. */
  readonly asked: ReadonlySet<string>;
  /** Peers with which a session is wanted, even if nothing is sent. */
  readonly wanted: ReadonlySet<string>;
}

export function planLapses(facts: LapseFacts, clocks: Clocks): LapsePlan {
  const { lapses: before, refusals, node } = facts;
  const active = new Set(refusals.map(({ peer, owner }) => pairOf(peer, owner)));
  const earlier = new LapseIndex(before);
  const contests = contestsOf(refusals, node);
  const kinds = new ClaimKinds(facts.records, contests);
  const taken = new PrefixOwners(new Nesting(contests.map(({ claim }) => claim)));
  const numbers = new Map<string, number>();
  for (const { owner } of before) numbers.set(owner, (numbers.get(owner) ?? 0) + 1);
  const come: Lapse[] = [];
  const asked = new Set<string>();
  const wanted = new Set<string>();
  for (const contest of contests) {
    const { owner, claimant, claim } = contest;
    const kind = kinds.find(contest);
    if (kind === undefined || !facts.isGiven(claimant, claim, kind)) continue;
    // A peer that has lost a claim because it was dead is not asked for ever.
    if (!earlier.hasReturnOf(contest)) wanted.add(claimant);
    if (!isThere(facts, contest, kind, clocks.nowMs)) continue;
    asked.add(owner);
    wanted.add(owner);
    const number = numbers.get(owner) ?? 0;
    const isTaken = number >= maxLapses || taken.findOther(noOwner, claim) !== undefined;
    if (isTaken || !isDead(facts, owner, clocks)) continue;
    numbers.set(owner, number + 1);
    taken.hold({ owner: claimant, prefix: claim });
    come.push(contest);
  }
  const later = new LapseIndex(come);
  const kept = before.filter(
    (lapse) => active.has(pairOf(lapse.owner, lapse.claimant)) && !later.hasReturnOf(lapse),
  );
  const added = come.filter((lapse) => !earlier.hasReturnOf(lapse));
  return {
    lapses: added.length === 0 && kept.length === before.length ? before : [...kept, ...added],
    come,
    asked,
    wanted,
  };
}

/** This is no peer's name. */
const noOwner = "";

function pairOf(owner: string, claimant: string): string {
  return `${owner} ${claimant}`;
}

/** Groups lapses by the losing and the winning peer. */
class LapseIndex {
  readonly #spans: ReadonlyMap<string, readonly Span[]>;

  constructor(lapses: readonly Lapse[]) {
    const byPair = Map.groupBy(lapses, ({ owner, claimant }) => pairOf(owner, claimant));
    this.#spans = new Map([...byPair].map(([pair, some]) => [pair, some.map(({ claim }) => spanOf(claim))]));
  }

  /** True if an earlier lapse gave the owner what the claimant now wants. */
  hasReturnOf({ owner, claimant, claim }: Lapse): boolean {
    const given = this.#spans.get(pairOf(claimant, owner));
    if (given === undefined) return false;
    const span = spanOf(claim);
    return given.some((other) => spansOverlap(other, span));
  }
}

/** Orders two nodes that both want a claim of a dead one by their names, on every node. */
function contestsOf(refusals: readonly Refusal[], node: string): Lapse[] {
  return refusals
    .filter(({ owner, claim }) => owner !== node && isPrefix(claim))
    .map(({ owner, peer, claim }) => ({ owner, claimant: peer, claim }))
    .sort((a, b) => compareText(a.claimant, b.claimant) || compareText(a.claim, b.claim));
}

/** True for a prefix: a refused key may contain a slash, but does not end as a prefix does; a refused endpoint has no length. */
function isPrefix(claim: string): boolean {
  return claim.includes("/") && !claim.endsWith("=");
}

/** Finds the contested claims in the claimants' own records. */
class ClaimKinds {
  readonly #records: LapseFacts["records"];
  readonly #hosts = new Map<string, ReadonlySet<string>>();
  readonly #networks = new Map<string, PrefixOwners>();

  constructor(records: LapseFacts["records"], contests: readonly Lapse[]) {
    this.#records = records;
    for (const [claimant, some] of Map.groupBy(contests, (contest) => contest.claimant)) {
      const { nodeIPs = [], podCIDRs = [] } = records.get(claimant) ?? {};
      this.#hosts.set(claimant, new Set(nodeIPs.map(hostPrefix)));
      const networks = new PrefixOwners(new Nesting([...podCIDRs, ...some.map(({ claim }) => claim)]));
      for (const prefix of podCIDRs) networks.hold({ owner: claimant, prefix });
      this.#networks.set(claimant, networks);
    }
  }

  /** Returns undefined if no peer makes the claim any more, or its owner is no peer. */
  find({ owner, claimant, claim }: Lapse): "node IP" | "pod CIDR" | undefined {
    if (!this.#records.has(owner)) return undefined;
    if (this.#hosts.get(claimant)?.has(claim)) return "node IP";
    return this.#networks.get(claimant)?.findOther(noOwner, claim) === undefined ? undefined : "pod CIDR";
  }
}

/** True if a fresh handshake of the claimant came from the place that the claim names. */
function isThere(
  { records, observations }: LapseFacts,
  { owner, claimant, claim }: Lapse,
  kind: "node IP" | "pod CIDR",
  nowMs: number,
): boolean {
  const places = kind === "node IP" ? addressesOf(records.get(owner)) : addressesOf(records.get(claimant));
  const isPlace = (ip: string) => places.includes(ip) || (kind === "node IP" && hostPrefix(ip) === claim);
  return slots.some((slot) => {
    const { handshakeAtMs, handshakeFrom } = observations.get(claimant)?.[slot] ?? {};
    if (handshakeAtMs === undefined || handshakeFrom === undefined) return false;
    return nowMs - handshakeAtMs < freshMs && isPlace(handshakeFrom);
  });
}

function isDead(facts: LapseFacts, owner: string, { nowMs, wallMs }: Clocks): boolean {
  const observation = facts.observations.get(owner) ?? {};
  const handshakeAtMs = latest(observation, "handshakeAtMs");
  const sinceMs = facts.askedSinceMs.get(owner) ?? wallMs;
  const signAtMs = Math.max(handshakeAtMs, latest(observation, "heardAtMs"));
  // For an owner that never had a session, the time since it was first asked counts; that survives a restart.
  const lastMs = signAtMs === Number.NEGATIVE_INFINITY ? nowMs - (wallMs - sinceMs) : signAtMs;
  const isAnswerDue =
    nowMs - (facts.askedHereMs.get(owner) ?? nowMs) >= answerMs &&
    nowMs - handshakeAtMs >= rejectAfterMs + answerMs;
  return nowMs - lastMs >= deadMs && isAnswerDue;
}

function latest(observation: PeerObservation, time: "handshakeAtMs" | "heardAtMs"): number {
  return Math.max(...slots.map((slot) => observation[slot]?.[time] ?? Number.NEGATIVE_INFINITY));
}

function addressesOf(record: NodeRecord | undefined): readonly string[] {
  return [...(record?.nodeIPs ?? []), ...(record?.endpoints ?? [])];
}

function prefixesOf({ nodeIPs, podCIDRs }: NodeRecord): string[] {
  return [...podCIDRs, ...nodeIPs.map(hostPrefix)];
}
