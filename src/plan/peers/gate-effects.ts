// The effects of the gate's transition table by name: the path, the next state and the events that
// follow from a transition. An effect that gives no path only changes the state, and the table goes on.
import type { PeerPath } from "../../net/path.ts";
import { closedPath } from "../../net/path.ts";
import type { Slot } from "../../net/record.ts";
import { handshakeSlot, isToRenew, mayAsk, mayInitiate, conditions as when } from "./gate-conditions.ts";
import {
  type GateContext,
  type GateDecision,
  type GateEvent,
  type GateKind,
  keyless,
  type MoveReason,
  type OpenState,
  open,
  type StateOf,
  type WaitingState,
  waiting,
} from "./gate-state.ts";
import { hurryMs } from "./gate-timers.ts";
import { endpointCandidates, otherSlot, slots, usableSlot } from "./path.ts";
import { continueRecovery, startRecovery } from "./recovery.ts";

/** A change of the state alone. */
export interface Entry<K extends GateKind> {
  readonly state: StateOf<K>;
  readonly events?: readonly GateEvent[];
}

/** A decision that leads to a certain state. */
type Decision<K extends GateKind> = GateDecision & { readonly state: StateOf<K> };

type Waiting = GateContext<"waiting">;
type Open = GateContext<"open">;
type Unreached = GateContext<"open" | "silent">;

export const effects = {
  /** Changes nothing. */
  none: ({ path, state }: GateContext<"silent">): Decision<"silent"> => ({
    ...{ path, state, events: [] },
    hurry: state.round === 1,
  }),

  /** Takes the peer's traffic out of the tunnel, because its own record has no key. */
  closeKeyless: ({ path, nowMs }: GateContext): Decision<"keyless"> => ({
    ...{ path: closedPath, state: keyless(nowMs), hurry: false },
    events: path.slot === undefined ? [] : [{ kind: "closed", why: "keyless" }],
  }),

  /** Takes the peer's traffic out of the tunnel, because the mode is off. */
  closeDisabled: ({ nowMs }: GateContext): Decision<"waiting"> => ({
    ...{ path: closedPath, state: waiting(nowMs), hurry: false },
    events: [{ kind: "closed", why: "off" }],
  }),

  /** Begins to wait. */
  expectHandshake: ({ state }: GateContext<"keyless">): Entry<"waiting"> => ({
    state: waiting(state.sinceMs),
  }),

  /** Begins to wait for a handshake that is newer than the release. */
  expectNewHandshake: ({ nowMs }: GateContext): Entry<"waiting"> => ({
    state: { ...waiting(nowMs), releasedAtMs: nowMs },
  }),

  /** Takes over a path that is open already. */
  adoptPath: ({ state }: Waiting): Entry<"open"> => ({ state: open(state.sinceMs) }),

  /** Initiates nothing while the gate is closed, and begins to wait anew at each pass. */
  restClosed: ({ path, nowMs }: Waiting): Decision<"waiting"> => ({
    ...{ path: rested(path), state: waiting(nowMs), events: [], hurry: false },
  }),

  /** Initiates nothing, and keeps the path: what is sent to the peer is refused until it has a key again (isBarred). */
  restOpen: ({ path, nowMs }: Unreached): Decision<"open"> => ({
    ...{ path: rested(path), state: open(nowMs), events: [], hurry: false },
  }),

  /** Sends the peer's traffic into the tunnel. */
  openPath: (context: Waiting): Decision<"open"> => {
    const slot = handshakeSlot(context) ?? context.preferred;
    return enter(context, slot, { kind: "opened", slot });
  },

  /** Initiates on both slots, to the peer's next endpoint. */
  nextEndpoint: (context: Waiting): Decision<"waiting"> => {
    const { node, peer, path, state, nowMs } = context;
    const candidates = endpointCandidates(node, peer);
    const candidate = (path.candidate + 1) % candidates.length;
    const endpointChanges = state.endpointChanges + 1;
    return {
      path: { ...initiating(context), candidate },
      state: { ...state, endpointSinceMs: nowMs, endpointChanges },
      events: [{ kind: "candidate", endpoint: candidates[candidate] as string }],
      hurry: isEarly(state, nowMs),
    };
  },

  /** Initiates on both slots, and comes back soon for the other slot's handshake. */
  awaitProof: (context: Waiting): Decision<"waiting"> => ({
    ...{ path: initiating(context), state: context.state, events: [], hurry: true },
  }),

  /** Initiates on both slots. */
  initiate: (context: Waiting): Decision<"waiting"> => ({
    ...{ path: initiating(context), state: context.state, events: [] },
    hurry: isEarly(context.state, context.nowMs),
  }),

  /** Moves the peer's traffic off a slot that cannot carry it any more. */
  leaveSlot: (context: Unreached): Decision<"open"> => {
    const isRefused = context.peer.refusedSlots?.includes(context.path.slot) === true;
    return move(context, context.preferred, isRefused ? "refused" : "withdrawn");
  },

  startRecovery,
  continueRecovery,

  /** Moves the peer's traffic to the slot that answers, which ends the silence. */
  switchSlot: (context: GateContext<"silent">): Decision<"open"> => {
    const moved = move(context, otherSlot(context.path.slot), "silent");
    return { ...moved, events: [...moved.events, { kind: "answers" }] };
  },

  /** Moves the peer's traffic off a draining slot. */
  drain: (context: Unreached): Decision<"open"> => move(context, context.preferred, "drained"),

  /** Returns to the state from before the silence. */
  endRecovery: ({ state }: GateContext<"silent">): Entry<"open"> => ({
    ...{ state: state.before, events: [{ kind: "answers" }] },
  }),

  /** Initiates on the slot that the peer's traffic must move to. */
  prepareMove: (context: Open): Decision<"open"> => {
    const { path, preferred, state, nowMs } = context;
    const { sinceMs, drainSinceMs = nowMs } = state;
    const initiate = mayInitiate(context, preferred, drainSinceMs) ? [preferred] : [];
    return {
      path: { ...path, initiate },
      state: { ...open(sinceMs), drainSinceMs },
      events: [],
      hurry: true,
    };
  },

  /**
   * Adds the peer to the device anew, which makes a handshake at once: if a peer asks, its session is of no
   * use, even if this node considers it good. Initiates on every slot, whichever the peer sends on.
   */
  answerRequest: (context: Open): Decision<"open"> => ({
    ...keep(
      context,
      slots.filter((slot) => usableSlot(context.peer, slot) !== undefined),
    ),
    readd: context.path.slot,
  }),

  /** Initiates on every slot whose session is old, and asks for a sign of life if one is overdue. */
  renewSessions: (context: Open): Decision<"open"> => {
    const renewed = slots.filter(
      (slot) => usableSlot(context.peer, slot) !== undefined && isToRenew(context, slot),
    );
    const { slot } = context.path;
    const isExtra = isAsking(context) && !renewed.includes(slot);
    return keep(context, isExtra ? [slot, ...renewed] : renewed);
  },

  /** Asks the peer for a sign of life. */
  ask: (context: Open): Decision<"open"> => keep(context, isAsking(context) ? [context.path.slot] : []),

  /** Lets the traffic flow. */
  carry: (context: Open): Decision<"open"> => keep(context, []),
};

function rested(path: PeerPath): PeerPath {
  return { ...path, initiate: [], pinned: false };
}

function enter({ path, nowMs }: GateContext, slot: Slot, event: GateEvent): Decision<"open"> {
  return {
    path: { slot, candidate: path.candidate, initiate: [], pinned: false },
    ...{ state: open(nowMs), events: [event], hurry: false },
  };
}

function move(context: Unreached, slot: Slot, why: MoveReason): Decision<"open"> {
  return enter(context, slot, { kind: "moved", slot, why });
}

function initiating(context: Waiting): PeerPath {
  const { peer, path, state } = context;
  const initiate = slots.filter(
    (slot) => usableSlot(peer, slot) !== undefined && mayInitiate(context, slot, state.sinceMs),
  );
  return { ...path, initiate, pinned: false };
}

/** A peer that appeared recently is about to answer. */
function isEarly({ sinceMs }: WaitingState, nowMs: number): boolean {
  return nowMs - sinceMs < hurryMs;
}

/** The path stays on its slot. */
function keep(context: Open, initiate: readonly Slot[]): Decision<"open"> {
  const { path, state, isAsked } = context;
  const kept: OpenState = {
    ...open(state.sinceMs),
    ...(when.overdue(context) ? { askedAtMs: askedAtMs(context) } : {}),
    ...(isAsked === true ? { wasAsked: true } : {}),
  };
  return { path: { ...path, initiate, pinned: false }, state: kept, events: [], hurry: false };
}

function isAsking(context: Open): boolean {
  return when.overdue(context) && mayAsk(context, askedAtMs(context));
}

function askedAtMs({ state, nowMs }: Open): number {
  return state.askedAtMs ?? nowMs;
}
