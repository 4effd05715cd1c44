// The state machine of one peer: when traffic may enter the tunnel, which slot carries it, and what the
// agent tries if the peer becomes silent. Pure: time and observations are arguments. The decided path is
// kept in the store and becomes routes (mesh/desired.ts). The drawing shows the table below.
//
//            its record has a key          handshake on a slot
//   ┌─────────┐ ───────────► ┌─────────┐ ─────────────────────► ┌──────┐ ◄─┐ its slot drains: moves
//   │ keyless │              │ waiting │                        │ open │   │ when the other slot has
//   └─────────┘ ◄─────────── └─────────┘                        └──────┘ ──┘ a fresh handshake
//        ▲       keyless      initiates on both slots,            │    ▲
//        │                    next endpoint every         nothing │    │ a handshake,
//        │                    10 s, later every 60 s     answered │    │ or moves
//        │                                               for 30 s ▼    │
//        │ its own record has no key any more                   ┌────────┐ a recovery step every 15 s:
//        └───────────────────────────────────────────────────── │ silent │ reset the endpoint, add the
//                                                               └────────┘ peer again, try the other slot
//
// The gate does not go from open or silent to waiting because of a handshake or of another node's record
// (the ratchet): traffic that was encrypted once is never sent in plaintext because
// handshakes fail, because another node claims the peer's key or address, or because the peer has no
// endpoint. Only an operator opens that way: by taking the path out of the store, after which only a
// newer handshake opens the gate, or by mode off. In mode off, no gate opens, and a handshake every ten
// minutes proves that it could.
import { conditions } from "./gate-conditions.ts";
import { type Entry, effects } from "./gate-effects.ts";
import {
  type GateContext,
  type GateDecision,
  type GateEvent,
  type GateFacts,
  type GateKind,
  type GateState,
  open,
  type StateOf,
  waiting,
} from "./gate-state.ts";
import { routeSlot } from "./path.ts";

export type ConditionName = keyof typeof conditions;
export type EffectName = keyof typeof effects;

/** A row of the table. */
export interface Transition {
  readonly from: readonly GateKind[];
  readonly when: ConditionName;
  readonly effect: EffectName;
  readonly to: GateKind;
  /** True if the row changes the state only: the rows below it decide, in the new state. */
  readonly goesOn: boolean;
}

/** Functions of a record that can be called in all states of K, and whose result is an R. */
type NameFor<T, K extends GateKind, R> = {
  [N in keyof T]: T[N] extends (context: GateContext<K>) => R ? N : never;
}[keyof T];

type ConditionFor<K extends GateKind> = NameFor<typeof conditions, K, boolean>;

/** The effect decides, and leads to the state. */
function on<K extends GateKind, To extends GateKind>(
  from: readonly K[],
  when: ConditionFor<K>,
  effect: NameFor<typeof effects, K, GateDecision & { readonly state: StateOf<To> }>,
  to: To,
): Transition {
  return { from, when, effect, to, goesOn: false };
}

/** The state changes, and the rows below decide. */
function enter<K extends GateKind, To extends GateKind>(
  from: readonly K[],
  when: ConditionFor<K>,
  effect: NameFor<typeof effects, K, Entry<To>>,
  to: To,
): Transition {
  return { from, when, effect, to, goesOn: true };
}

/** The rows in the order in which they are tried: the first one that applies decides, unless it goes on. */
export const transitions: readonly Transition[] = [
  on(["keyless", "waiting", "open", "silent"], "keyless", "closeKeyless", "keyless"),
  enter(["keyless"], "otherwise", "expectHandshake", "waiting"),

  // Another process may have changed the stored path. From here on, the state agrees with it.
  enter(["waiting"], "pathOpen", "adoptPath", "open"),
  enter(["open", "silent"], "pathReleased", "expectNewHandshake", "waiting"),

  on(["open", "silent"], "disabled", "closeDisabled", "waiting"),
  on(["waiting"], "keysRefused", "restClosed", "waiting"),
  on(["open", "silent"], "keysRefused", "restOpen", "open"),

  on(["waiting"], "provenWhileDisabled", "restClosed", "waiting"),
  on(["waiting"], "handshake", "openPath", "open"),
  on(["waiting"], "endpointDue", "nextEndpoint", "waiting"),
  on(["waiting"], "proofAwaited", "awaitProof", "waiting"),
  on(["waiting"], "otherwise", "initiate", "waiting"),

  on(["open", "silent"], "slotLost", "leaveSlot", "open"),
  on(["open"], "unresponsive", "startRecovery", "silent"),
  on(["silent"], "otherSlotAnswers", "switchSlot", "open"),
  on(["silent"], "stepDue", "continueRecovery", "silent"),
  on(["silent"], "unanswered", "none", "silent"),
  on(["open", "silent"], "drainable", "drain", "open"),
  enter(["silent"], "otherwise", "endRecovery", "open"),

  on(["open"], "draining", "prepareMove", "open"),
  on(["open"], "newlyAsked", "answerRequest", "open"),
  on(["open"], "sessionWanted", "renewSessions", "open"),
  on(["open"], "overdue", "ask", "open"),
  on(["open"], "otherwise", "carry", "open"),
];

export interface GateRun {
  readonly decision: GateDecision;
  /** The rows that applied: the last one decided. */
  readonly taken: readonly Transition[];
}

/** One pass over one peer. */
export function stepGate(facts: GateFacts, nowMs: number): GateDecision {
  return runGate(facts, nowMs).decision;
}

type Decide<R> = (context: GateContext) => R;

/** The rows with their functions. `on` and `enter` have checked that these apply to the row's states. */
const rows = transitions.map((row) => ({
  row,
  applies: conditions[row.when] as Decide<boolean>,
  effect: effects[row.effect] as Decide<GateDecision | Entry<GateKind>>,
}));

/** One pass, with the rows of the table that it took. */
export function runGate(facts: GateFacts, nowMs: number): GateRun {
  const preferred = routeSlot(facts.node, facts.peer) ?? "a";
  const begun = facts.state ?? beginGate(facts, nowMs);
  let context: GateContext = { ...facts, state: begun, preferred, nowMs };
  let events: readonly GateEvent[] = [];
  const taken: Transition[] = [];
  for (const { row, applies, effect } of rows) {
    if (!row.from.includes(context.state.kind) || !applies(context)) continue;
    taken.push(row);
    const outcome = effect(context);
    events = [...events, ...(outcome.events ?? [])];
    if ("path" in outcome) return { decision: { ...outcome, events }, taken };
    context = { ...context, state: outcome.state };
  }
  throw new Error(`No transition of the gate applies in state ${context.state.kind}`);
}

/** The first pass at a peer in this process. */
function beginGate({ path }: GateFacts, nowMs: number): GateState {
  return path.slot === undefined ? waiting(nowMs) : open(nowMs);
}
