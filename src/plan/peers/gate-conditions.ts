// The conditions of the gate's transition table by name. Each one is a question about the peer at this
// moment; the table (gate.ts) says in which states and in which order the questions are asked.
import type { Slot } from "../../net/record.ts";
import { rejectAfterMs, rekeyAfterMs } from "../../net/wireguard-timers.ts";
import type { GateContext } from "./gate-state.ts";
import {
  askMs,
  endpointTryMs,
  laterEndpointTryMs,
  overdueMs,
  proofWaitMs,
  proveAgainMs,
  sendingMs,
  trafficMs,
  unansweredMs,
  yieldMs,
} from "./gate-timers.ts";
import { hadHandshakeWithin, handshakeMs, isFresh, lastHeardMs } from "./handshakes.ts";
import { endpointCandidates, isDraining, isKeyless, keyOf, otherSlot, slots, usableSlot } from "./path.ts";
import { isStepDue } from "./recovery.ts";
import { isStalled } from "./stall.ts";

const never = Number.NEGATIVE_INFINITY;

type Open = GateContext<"open" | "silent">;

export const conditions = {
  /** True for a peer that no row above applies to. */
  otherwise: () => true,

  /** The peer's own record has no key any more. */
  keyless: ({ peer }: GateContext) => isKeyless(peer),

  /** The stored path is open: it was open before this process began, or this process could not finish a pass. */
  pathOpen: ({ path }: GateContext) => path.slot !== undefined,

  /** The stored path is closed although the gate was open: an operator closed it. */
  pathReleased: ({ path }: GateContext) => path.slot === undefined,

  /** The mode is off. */
  disabled: ({ isDisabled }: GateContext) => isDisabled,

  /** Other nodes own all keys of the peer, so that there is no handshake to make. */
  keysRefused: ({ peer }: GateContext) => slots.every((slot) => usableSlot(peer, slot) === undefined),

  /** The mode is off, and the handshakes have shown all that mode off wants to know. */
  provenWhileDisabled: (context: GateContext<"waiting">) =>
    context.isDisabled &&
    hadHandshakeWithin(proveAgainMs, context.observation, context.nowMs) &&
    !isProofAwaited(context),

  /** A handshake succeeded on a slot, and nothing keeps the gate from opening. */
  handshake: (context: GateContext<"waiting">) =>
    !context.isDisabled && handshakeSlot(context) !== undefined && !isProofAwaited(context),

  /** The endpoint had its time, and the peer has another one. */
  endpointDue: ({ node, peer, state, nowMs }: GateContext<"waiting">) => {
    const count = endpointCandidates(node, peer).length;
    const tryMs = state.endpointChanges < count ? endpointTryMs : laterEndpointTryMs;
    return count >= 2 && nowMs - state.endpointSinceMs >= tryMs;
  },

  /** A handshake succeeded, and the other slot's handshake may still prove another address. */
  proofAwaited: (context: GateContext<"waiting">) =>
    handshakeSlot(context) !== undefined && isProofAwaited(context),

  /** The peer cannot be reached on the path's slot any more. */
  slotLost: ({ peer, path }: Open) => usableSlot(peer, path.slot) === undefined,

  /**
   * This node sends, and the peer has not answered for longer than WireGuard takes. Or the gate asked
   * the peer, and not even the question left this node: nothing counts as sent if this node's own
   * kernel refuses to send (no route, perhaps a firewall). The absence of an answer alone is no sign
   * then, because a peer does not answer a keepalive within a session. Or packets enter this node's device and
   * none leaves it: then a peer is as silent as if it did not answer, even if its own packets still arrive.
   */
  unresponsive: (context: GateContext<"open">) => {
    const { observation, stalls, path, state, nowMs } = context;
    const { slot } = path;
    if (hadTraffic(context) && isStalled(stalls?.[slot], nowMs, state.sinceMs)) return true;
    const { sentAtMs = never, unansweredSinceMs = nowMs } = observation[slot] ?? {};
    const { askedAtMs = Number.POSITIVE_INFINITY, sinceMs } = state;
    const lastMs = Math.max(lastHeardMs(observation, slot, sinceMs), sentAtMs);
    if (lastMs <= askedAtMs && nowMs - askedAtMs > askMs) return true;
    return nowMs - sentAtMs <= sendingMs && nowMs - Math.max(unansweredSinceMs, sinceMs) > unansweredMs;
  },

  /** The peer is still silent, and a handshake since then shows that the other slot works. */
  otherSlotAnswers: (context: GateContext<"silent">) => {
    const { peer, path, observation, state, nowMs } = context;
    const other = otherSlot(path.slot);
    if (!isUnanswered(context) || usableSlot(peer, other) === undefined) return false;
    return isFresh(observation, other, nowMs) && handshakeMs(observation, other) > state.silentSinceMs;
  },

  /** The peer is still silent, and the last recovery step had its time. */
  stepDue: (context: GateContext<"silent">) =>
    isUnanswered(context) && isStepDue(context.state, context.nowMs),

  /** The peer is still silent. */
  unanswered: isUnanswered,

  /** The path's slot drains, and the other slot has a session. */
  drainable: (context: Open) =>
    isToDrain(context) && isFresh(context.observation, context.preferred, context.nowMs),

  /** The path's slot drains, and the other slot has no session yet. */
  draining: isToDrain,

  /** The peer begins to ask this node for a handshake. */
  newlyAsked: ({ isAsked, state }: GateContext<"open">) => isAsked === true && state.wasAsked !== true,

  /** The peer asks for a session, or this node wants one although nothing is sent. */
  sessionWanted: ({ isAsked, isWanted }: GateContext<"open">) => isAsked === true || isWanted === true,

  /** The peer had traffic recently, its last sign of life is old, and WireGuard expects no answer from it. */
  overdue: isOverdue,
};

/** The slot whose handshake opens the gate; undefined if there is none newer than an operator's release. */
export function handshakeSlot(context: GateContext<"waiting">): Slot | undefined {
  const { preferred, observation, state, nowMs } = context;
  const { releasedAtMs = never } = state;
  const opens = (slot: Slot) =>
    isFresh(observation, slot, nowMs) && handshakeMs(observation, slot) > releasedAtMs;
  return [preferred, otherSlot(preferred)].find(opens);
}

/**
 * The handshakes of the two slots come at nearly the same time, each from its own address. An open gate
 * does not accept what a node sends from an address that nothing has proved.
 */
function isProofAwaited({ hasUnprovenIPs, observation, state, nowMs }: GateContext<"waiting">): boolean {
  const firstMs = Math.min(
    ...slots.map((slot) => observation[slot]?.handshakeAtMs ?? Number.POSITIVE_INFINITY),
  );
  // A gate that mode off kept closed begins to wait when the mode changes.
  return hasUnprovenIPs === true && nowMs - Math.max(firstMs, state.sinceMs) < proofWaitMs;
}

/**
 * True while the peer has not answered. Only a handshake proves both directions. Packets from the peer show
 * only that this node receives them, not that the peer receives packets of this node: the peer may be asking (mayAsk). WireGuard and the
 * recovery steps repeat handshakes.
 */
function isUnanswered({ observation, path, state }: GateContext<"silent">): boolean {
  return handshakeMs(observation, path.slot) <= state.silentSinceMs;
}

/** True if the traffic must leave its slot. Either slot is good while neither drains: the gate does not move a path without need. */
function isToDrain({ node, peer, path, preferred }: Open): boolean {
  return preferred !== path.slot && isDraining(node, peer, path.slot);
}

/** True if packets of pods or hosts came from the peer or were sent to it recently. */
function hadTraffic({ observation, path: { slot }, nowMs }: GateContext<"open">): boolean {
  const { dataAtMs = never, sentDataAtMs = never } = observation[slot] ?? {};
  return nowMs - Math.max(dataAtMs, sentDataAtMs) <= trafficMs;
}

function isOverdue(context: GateContext<"open">): boolean {
  const { observation, path, state, nowMs } = context;
  const { slot } = path;
  const { unansweredSinceMs = never } = observation[slot] ?? {};
  if (!hadTraffic(context)) return false;
  const isOld = nowMs - lastHeardMs(observation, slot, state.sinceMs) > overdueMs;
  return isOld && nowMs - unansweredSinceMs > unansweredMs;
}

/**
 * True if the gate may ask the peer. A peer does not answer a keepalive within a session: the keepalive
 * only shows if anything leaves this node. More of them would hide from the peer that this node does not
 * receive its packets. After the session, a keepalive makes a handshake.
 */
export function mayAsk({ observation, path, nowMs }: GateContext<"open">, askedAtMs: number): boolean {
  return nowMs - askedAtMs <= askMs || nowMs - handshakeMs(observation, path.slot) > rejectAfterMs;
}

/** True if a session on the slot is so old that its node would renew it. */
export function isToRenew({ observation, nowMs }: GateContext<"open">, slot: Slot): boolean {
  return nowMs - handshakeMs(observation, slot) > rekeyAfterMs;
}

/**
 * True if this node may initiate now. Nodes learn of each other in the same moment. If two handshakes
 * cross, both nodes drop the other's answer until they try again 5 s later; wireguard-go, whose workers handle handshakes in parallel, may
 * lose one direction for 15 s. So the node with the lesser key initiates first.
 */
export function mayInitiate(
  { node, peer, nowMs }: Pick<GateContext, "node" | "peer" | "nowMs">,
  slot: Slot,
  sinceMs: number,
): boolean {
  const [ours = "", theirs = ""] = [keyOf(node, slot), keyOf(peer, slot)];
  return ours < theirs || nowMs - sinceMs >= yieldMs;
}
