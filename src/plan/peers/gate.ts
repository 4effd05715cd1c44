// The state machine of one peer: when traffic may enter the tunnel, which slot
// it takes, and what is tried when the peer falls silent. Pure: time and what
// the devices have shown are arguments; the path that comes out is kept in the
// store and becomes routes (mesh/desired.ts).
//
//             its record has a key          handshake on a slot
//   ┌─────────┐ ───────────► ┌─────────┐ ─────────────────────► ┌──────┐ ◄─┐
//   │ keyless │              │ waiting │                        │ open │   │ its slot drains: moved
//   └─────────┘ ◄─────────── └─────────┘                        └──────┘ ──┘ once the other has a
//        ▲       withdrawn    initiates on both slots;            │    ▲      fresh handshake
//        │                    the next endpoint every    nothing │    │
//        │                    10 s, later 60 s       heard for   │    │ a handshake,
//        │ its own record has no key any more        30 s of     ▼    │ or moved
//        └────────────────────────────────────────── sending   ┌────────┐
//                                                              │ silent │ one rung each 15 s:
//                                                              └────────┘ re-pin, re-add, other slot
//
// There is no way from open or silent to waiting: once encrypted, a peer is
// never reached in clear because handshakes fail (the ratchet), nor because
// another node claims its key or address, or it has no endpoint to send to. An operator may
// take its path out of the store; then only a newer handshake opens it again. In
// mode off nothing opens: a handshake every ten minutes shows that it could.

import { closedPath, type PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import { handshakeFreshMs } from "../../net/wireguard-timers.ts";
import type { OwnedPeer } from "./model.ts";
import type { PeerObservation } from "./observation.ts";
import {
  endpointCandidates,
  isDraining,
  isKeyless,
  keyOf,
  otherSlot,
  routeSlot,
  slots,
  usableSlot,
} from "./path.ts";

/** WireGuard gives up on a session 180 s after its handshake (REJECT_AFTER_TIME); nothing moves onto one about to end. */
const sessionFreshMs = 150_000;
/** Two tries of a handshake, which come five seconds apart (REKEY_TIMEOUT). */
const candidateMs = 10_000;
/** Once all endpoints had their turn there is no hurry. */
const laterCandidateMs = 60_000;
/** How long a gate waits for the handshake of the other slot, if an address of the peer is to be shown still. */
const proofMs = 2000;
/** One of the two begins, and has this time; the other only then, should it not know us yet or not be heard. */
const yieldMs = 500;
/** A peer that has not answered for so long is looked at as seldom as the others. */
const hurryMs = 60_000;
/** In mode off a handshake proves for so long that the peer could be encrypted to, */
const provedMs = 900_000;
/** and the next is provoked after so long: what is proved does not lapse meanwhile. */
const proveAgainMs = 600_000;
/** What was sent "lately": a poll's distance and some. */
const sendingMs = 15_000;
/** WireGuard answers packets within ten seconds (KEEPALIVE_TIMEOUT), and tries a handshake where none came for fifteen. */
const silentMs = 30_000;
/** A peer that had traffic and is not heard for so long is asked, */
const askMs = 60_000;
/** and within so long that must have gone out. */
const answerMs = 20_000;
/** One without traffic is left alone: silence is what WireGuard does then. */
const trafficMs = 600_000;
/** WireGuard makes a new handshake once a session is this old, if it began the last one (REKEY_AFTER_TIME). */
const rekeyAfterMs = 120_000;
const rungMs = 15_000;
/** The last rung is waited on longer before the ladder is climbed again. */
const laterRungMs = 60_000;

/** The rungs of the ladder, in their order. */
export const rungs = ["re-pin", "re-add", "other-slot"] as const;
export type Rung = (typeof rungs)[number];

/** What is remembered of a peer between two looks; nothing of it must survive a restart. */
export interface GateMemory {
  /** When this process first saw the peer in this state: silence is measured from here at the earliest. */
  readonly sinceMs: number;
  /** When the endpoint was last exchanged, and how often. */
  readonly triedAtMs: number;
  readonly tries: number;
  /** True where the path was open at the last look. */
  readonly isOpen: boolean;
  /** An operator closed the gate then: older handshakes do not open it again. */
  readonly releasedAtMs?: number;
  /** True if the peer asked for a handshake at the last look, too. */
  readonly wasAsked?: true;
  /** Since when its traffic is to move to the other slot. */
  readonly wantedSinceMs?: number;
  /** When it was asked for a sign of life. */
  readonly askedAtMs?: number;
  /** The rung that was climbed last, while silent. */
  readonly rung?: Rung;
  readonly rungAtMs?: number;
  /** How often the ladder was begun, while silent. */
  readonly round?: number;
  /** When the silence began: what went out then is the first that was not answered. */
  readonly silentSinceMs?: number;
}

export interface GateFacts {
  readonly node: NodeRecord;
  readonly peer: OwnedPeer;
  /** As stored; closedPath where nothing is. */
  readonly path: PeerPath;
  /** Absent at the first look at a peer. */
  readonly memory?: GateMemory;
  readonly sight: PeerObservation;
  /** Mode off: handshakes are made and traffic is left alone. */
  readonly held: boolean;
  /** True if a session is wanted although nothing is sent. */
  readonly isWanted?: boolean;
  /** True if a node IP of the peer is to be shown by a handshake still (node-ip-proof.ts). */
  readonly hasUnshown?: boolean;
  /** True if the peer asks this node to begin a handshake, because its own are not answered. */
  readonly isAsked?: boolean;
}

export type MoveReason = "drained" | "silent" | "withdrawn" | "refused";

/** What has happened, for the log and the counters. */
export type GateNews =
  | { readonly kind: "opened"; readonly slot: Slot }
  | { readonly kind: "moved"; readonly slot: Slot; readonly why: MoveReason }
  | { readonly kind: "closed"; readonly why: "keyless" | "off" }
  | { readonly kind: "candidate"; readonly endpoint: string }
  | { readonly kind: "silent"; readonly slot: Slot; readonly rung: Rung; readonly round: number }
  | { readonly kind: "answers" };

export interface GateDecision {
  readonly path: PeerPath;
  readonly memory: GateMemory;
  readonly news: readonly GateNews[];
  /** The peer is to be taken off this slot's device and put on again. */
  readonly readd?: Slot;
  /** True where the next look should come soon. */
  readonly hurry: boolean;
}

/** One look at one peer. */
export function stepGate(facts: GateFacts, nowMs: number): GateDecision {
  const { node, peer, path } = facts;
  const memory = facts.memory ?? begin(path.slot !== undefined, nowMs);
  if (isKeyless(peer)) return close(path, "keyless", nowMs);
  if (facts.held && path.slot !== undefined) return close(path, "off", nowMs);
  const wanted = routeSlot(node, peer);
  if (wanted === undefined) return keepUnusable(path, nowMs);
  if (path.slot === undefined) {
    const released = memory.isOpen ? { ...begin(false, nowMs), releasedAtMs: nowMs } : memory;
    return stepWaiting({ ...facts, memory: released }, wanted, nowMs);
  }
  if (usableSlot(peer, path.slot) === undefined) {
    const why = peer.refusedSlots?.includes(path.slot) ? "refused" : "withdrawn";
    return move({ ...facts, memory }, wanted, why, nowMs);
  }
  return stepOpen({ ...facts, memory }, path.slot, wanted, nowMs);
}

function begin(isOpen: boolean, nowMs: number): GateMemory {
  return { sinceMs: nowMs, triedAtMs: nowMs, tries: 0, isOpen };
}

type Remembered = GateFacts & { readonly memory: GateMemory };

/** Its own record opens the way back, or an operator: it has withdrawn its keys, or the mode is off. */
function close(path: PeerPath, why: "keyless" | "off", nowMs: number): GateDecision {
  const news: GateNews[] = path.slot === undefined ? [] : [{ kind: "closed", why }];
  return { path: closedPath, memory: begin(false, nowMs), news, hurry: false };
}

/**
 * All its keys are refused: nobody to shake hands with. A path that is open stays open: what is
 * sent to the peer is refused until its record has a key of its own again (isBarred).
 */
function keepUnusable(path: PeerPath, nowMs: number): GateDecision {
  return {
    path: { ...path, initiate: [], pinned: false },
    ...{ memory: begin(path.slot !== undefined, nowMs), news: [], hurry: false },
  };
}

function stepWaiting(facts: Remembered, wanted: Slot, nowMs: number): GateDecision {
  const { node, peer, path, memory, sight, held } = facts;
  if (held && hasShakenWithin(proveAgainMs, sight, nowMs) && !awaitsProof(facts, nowMs))
    return rest(path, nowMs);
  const order = [wanted, otherSlot(wanted)];
  const { releasedAtMs = Number.NEGATIVE_INFINITY } = memory;
  const opened = order.find(
    (slot) => isFresh(sight, slot, nowMs) && (sight[slot]?.handshakeAtMs ?? 0) > releasedAtMs,
  );
  const isAwaited = opened !== undefined && awaitsProof(facts, nowMs);
  if (opened !== undefined && !held && !isAwaited) return open(facts, opened, nowMs);
  const initiate = slots.filter(
    (slot) => usableSlot(peer, slot) !== undefined && mayBegin(facts, slot, memory.sinceMs, nowMs),
  );
  const candidates = endpointCandidates(node, peer);
  const patienceMs = memory.tries < candidates.length ? candidateMs : laterCandidateMs;
  if (candidates.length < 2 || nowMs - memory.triedAtMs < patienceMs)
    return {
      path: { ...path, initiate, pinned: false },
      ...{ memory, news: [], hurry: isAwaited || nowMs - memory.sinceMs < hurryMs },
    };
  const candidate = (path.candidate + 1) % candidates.length;
  return {
    path: { ...path, candidate, initiate, pinned: false },
    memory: { ...memory, triedAtMs: nowMs, tries: memory.tries + 1 },
    news: [{ kind: "candidate", endpoint: candidates[candidate] as string }],
    hurry: nowMs - memory.sinceMs < hurryMs,
  };
}

/**
 * The handshakes of the two slots come at nearly the same time, each from an address of its own. Once
 * the gate is open, what a node sends from an address that nothing has shown is not taken.
 */
function awaitsProof({ hasUnshown, sight, memory }: Remembered, nowMs: number): boolean {
  const firstMs = Math.min(...slots.map((slot) => sight[slot]?.handshakeAtMs ?? Number.POSITIVE_INFINITY));
  // A gate that mode off has held begins to wait when it is held no longer.
  return hasUnshown === true && nowMs - Math.max(firstMs, memory.sinceMs) < proofMs;
}

/** All is known that mode off wants to know. */
function rest(path: PeerPath, nowMs: number): GateDecision {
  const memory = begin(false, nowMs);
  return { path: { ...path, initiate: [], pinned: false }, memory, news: [], hurry: false };
}

function open({ path }: Remembered, slot: Slot, nowMs: number): GateDecision {
  return {
    path: { slot, candidate: path.candidate, initiate: [], pinned: false },
    memory: begin(true, nowMs),
    news: [{ kind: "opened", slot }],
    hurry: false,
  };
}

function move({ path }: Remembered, slot: Slot, why: MoveReason, nowMs: number): GateDecision {
  return {
    path: { slot, candidate: path.candidate, initiate: [], pinned: false },
    memory: begin(true, nowMs),
    news: [{ kind: "moved", slot, why }],
    hurry: false,
  };
}

function stepOpen(facts: Remembered, slot: Slot, wanted: Slot, nowMs: number): GateDecision {
  const { node, peer, path, memory, sight } = facts;
  if (isSilent(sight, slot, memory, nowMs)) return stepSilent(facts, slot, nowMs);
  const answers: GateNews[] = memory.rung === undefined ? [] : [{ kind: "answers" }];
  const calm = { ...begin(true, memory.sinceMs), triedAtMs: memory.triedAtMs };
  // Either slot will do while neither drains: a path is not moved without need.
  if (wanted === slot || !isDraining(node, peer, slot)) {
    const asked = isOverdue(sight, slot, memory, nowMs) ? { askedAtMs: memory.askedAtMs ?? nowMs } : {};
    const isAsking = "askedAtMs" in asked && mayAsk(sight, slot, asked.askedAtMs, nowMs);
    const wanted = wantSession(facts, slot, nowMs);
    return {
      path: {
        ...path,
        initiate: isAsking && !wanted.initiate.includes(slot) ? [slot, ...wanted.initiate] : wanted.initiate,
        pinned: false,
      },
      ...{ memory: { ...calm, ...asked, ...wanted.memory }, news: answers, hurry: false },
      ...(wanted.readd === undefined ? {} : { readd: wanted.readd }),
    };
  }
  if (isFresh(sight, wanted, nowMs)) return move(facts, wanted, "drained", nowMs);
  const { wantedSinceMs = nowMs } = memory;
  return {
    path: { ...path, initiate: mayBegin(facts, wanted, wantedSinceMs, nowMs) ? [wanted] : [] },
    ...{ memory: { ...calm, wantedSinceMs }, news: answers, hurry: true },
  };
}

/**
 * A session is kept up on each slot, whichever the peer sends on. The word of a peer that asks for it
 * counts for more than a session that this node holds to be good: it is put on the device anew, which
 * makes a handshake at once.
 */
function wantSession(
  { peer, sight, memory, isWanted = false, isAsked = false }: Remembered,
  slot: Slot,
  nowMs: number,
): Pick<GateDecision, "readd"> & { initiate: readonly Slot[]; memory: Pick<GateMemory, "wasAsked"> } {
  if (!isWanted && !isAsked) return { initiate: [], memory: {} };
  const isOld = (one: Slot) => nowMs - (sight[one]?.handshakeAtMs ?? Number.NEGATIVE_INFINITY) > rekeyAfterMs;
  const isNew = isAsked && memory.wasAsked !== true;
  const initiate = slots.filter((one) => usableSlot(peer, one) !== undefined && (isNew || isOld(one)));
  return { initiate, memory: isAsked ? { wasAsked: true } : {}, ...(isNew ? { readd: slot } : {}) };
}

/**
 * Nodes hear of each other in the same moment. Two handshakes that cross leave both with the
 * other's answer to drop, until they try again 5 s later; in wireguard-go, whose workers take
 * them side by side, one direction may be lost for 15 s. So the one with the lesser key begins.
 */
function mayBegin({ node, peer }: GateFacts, slot: Slot, sinceMs: number, nowMs: number): boolean {
  const [ours = "", theirs = ""] = [keyOf(node, slot), keyOf(peer, slot)];
  return ours < theirs || nowMs - sinceMs >= yieldMs;
}

function stepSilent(facts: Remembered, slot: Slot, nowMs: number): GateDecision {
  const { node, peer, path, memory, sight } = facts;
  const other = otherSlot(slot);
  const hasOther = usableSlot(peer, other) !== undefined;
  if (hasOther && isFresh(sight, other, nowMs) && isSince(sight, other, memory.silentSinceMs))
    return move(facts, other, "silent", nowMs);
  const last = memory.rung === rungs.at(-1);
  if (nowMs - (memory.rungAtMs ?? Number.NEGATIVE_INFINITY) < (last ? laterRungMs : rungMs))
    return { path, memory, news: [], hurry: memory.round === 1 };
  const rung = rungs[(rungs.indexOf(memory.rung as Rung) + 1) % rungs.length] as Rung;
  const round = (memory.round ?? 0) + (rung === rungs[0] ? 1 : 0);
  const { unansweredSinceMs, askedAtMs } = { ...memory, ...sight[slot] };
  const silentSinceMs = memory.silentSinceMs ?? unansweredSinceMs ?? askedAtMs ?? nowMs;
  const climbed = { ...memory, rung, round, rungAtMs: nowMs, silentSinceMs };
  const news: GateNews[] = [{ kind: "silent", slot, rung, round }];
  switch (rung) {
    case "re-pin": {
      // The first time it is the endpoint that the record names, should the peer have roamed; then the next.
      const step = memory.rung === undefined ? 0 : 1;
      const candidate = (path.candidate + step) % Math.max(1, endpointCandidates(node, peer).length);
      return {
        path: { ...path, candidate, initiate: [slot], pinned: true },
        ...{ memory: climbed, news, hurry: true },
      };
    }
    case "re-add":
      return { path: { ...path, initiate: [slot] }, memory: climbed, news, readd: slot, hurry: true };
    case "other-slot":
      return {
        path: { ...path, initiate: hasOther ? [slot, other] : [slot] },
        ...{ memory: climbed, news, hurry: true },
        // Within its session a keepalive makes no handshake, and one of before the silence proves nothing.
        ...(hasOther && isFresh(sight, other, nowMs) ? { readd: other } : {}),
      };
  }
}

/** True where a handshake on either slot has shown lately that the peer could be encrypted to. */
export function isProved(sight: PeerObservation, nowMs: number): boolean {
  return hasShakenWithin(provedMs, sight, nowMs);
}

function hasShakenWithin(ms: number, sight: PeerObservation, nowMs: number): boolean {
  return slots.some((slot) => nowMs - (sight[slot]?.handshakeAtMs ?? Number.NEGATIVE_INFINITY) < ms);
}

function isFresh(sight: PeerObservation, slot: Slot, nowMs: number): boolean {
  const atMs = sight[slot]?.handshakeAtMs;
  return atMs !== undefined && nowMs - atMs < sessionFreshMs;
}

/** True if the slot's last handshake is newer than a moment; an older one says nothing of what is so since. */
function isSince(sight: PeerObservation, slot: Slot, sinceMs: number | undefined): boolean {
  return sinceMs !== undefined && (sight[slot]?.handshakeAtMs ?? Number.NEGATIVE_INFINITY) > sinceMs;
}

/**
 * It is being sent to, and what it has to answer is unanswered for longer than
 * WireGuard takes. Or it is to be asked, and not even that went out: where this
 * node's own kernel refuses to send (no route, perhaps a firewall) nothing counts
 * as sent. That nothing comes back is no sign then: within a session, nobody
 * answers a keepalive.
 */
function isSilent(sight: PeerObservation, slot: Slot, memory: GateMemory, nowMs: number): boolean {
  const never = Number.NEGATIVE_INFINITY;
  const { handshakeAtMs = never, sentAtMs = never } = sight[slot] ?? {};
  const { askedAtMs = Number.POSITIVE_INFINITY, sinceMs, silentSinceMs } = memory;
  // Only a handshake takes both directions. What comes in shows that the peer is heard, not that it
  // hears us: it may be asking (mayAsk). WireGuard tries a handshake all the while, and so do the rungs.
  if (silentSinceMs !== undefined) return handshakeAtMs <= silentSinceMs;
  const heardAtMs = lastHeardMs(sight, slot, memory);
  const { unansweredSinceMs = nowMs } = sight[slot] ?? {};
  if (Math.max(heardAtMs, sentAtMs) <= askedAtMs && nowMs - askedAtMs > answerMs) return true;
  return nowMs - sentAtMs <= sendingMs && nowMs - Math.max(unansweredSinceMs, sinceMs) > silentMs;
}

/** There was traffic lately, but the last sign of life is old, and none is due. */
function isOverdue(sight: PeerObservation, slot: Slot, memory: GateMemory, nowMs: number): boolean {
  const never = Number.NEGATIVE_INFINITY;
  const { dataAtMs = never, sentDataAtMs = never, unansweredSinceMs = never } = sight[slot] ?? {};
  if (nowMs - Math.max(dataAtMs, sentDataAtMs) > trafficMs) return false;
  return nowMs - lastHeardMs(sight, slot, memory) > askMs && nowMs - unansweredSinceMs > silentMs;
}

/**
 * Within a session nobody answers a keepalive: it only shows whether anything
 * goes out. More of them would hide from the peer that we do not hear it. Once
 * the session is over, a keepalive makes a handshake.
 */
function mayAsk(sight: PeerObservation, slot: Slot, askedAtMs: number, nowMs: number): boolean {
  const { handshakeAtMs = Number.NEGATIVE_INFINITY } = sight[slot] ?? {};
  return nowMs - askedAtMs <= answerMs || nowMs - handshakeAtMs > handshakeFreshMs;
}

function lastHeardMs(sight: PeerObservation, slot: Slot, { sinceMs }: GateMemory): number {
  const { heardAtMs = sinceMs, handshakeAtMs = sinceMs } = sight[slot] ?? {};
  return Math.max(heardAtMs, handshakeAtMs, sinceMs);
}
