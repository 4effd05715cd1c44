// Key rotation at work: asks plan/keys/rotation.ts what comes next, commits that, and
// logs one line for it. Programming and publishing the new state is the agent's,
// right after. What is decided is decided again inside the transaction, so that
// keys which an operator has just exchanged are never put back.
import type { NodeRecord, Slot } from "../net/record.ts";
import {
  planRotation,
  type RotationChange,
  type RotationContext,
  type RotationFacts,
  type RotationMemory,
  type RotationPlan,
  type RotationState,
} from "../plan/keys/rotation.ts";
import type { Clocks } from "../plan/peers/observation.ts";
import { slots } from "../plan/peers/path.ts";
import type { Settings } from "../plan/settings/settings.ts";
import { ownRecord, readSettings } from "../reconcile/node.ts";
import { StoreError } from "../state/error.ts";
import type { Identity, Rotation } from "../state/model.ts";
import { readSealKey, SealError } from "../state/seal.ts";
import { makeSlotKey } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";

/** After a change the agent publishes, and looks again. */
const afterChangeMs = 1000;
/** Of a long list of peers, a log line names these. */
const namedPeers = 10;

/** The others, as the agent sees them now. */
export type RotationPassContext = Omit<RotationContext, "node">;

export interface RotationLook {
  /** True where the identity was changed: program and publish it. */
  readonly changed: boolean;
  readonly view: RotationView;
  readonly wakeInMs?: number;
}

export interface RotationView {
  readonly phase: RotationState["phase"];
  readonly slot?: Slot;
  /** Why nothing goes on. */
  readonly reason?: string;
  readonly waitingFor: readonly string[];
  /** Unix milliseconds. */
  readonly nextAtMs?: number;
}

interface OwnState {
  readonly identity: Identity;
  readonly settings: Settings;
  readonly facts: RotationFacts;
  readonly rotation?: Rotation;
  readonly node: NodeRecord;
}

export class KeyRotation {
  #memory: RotationMemory | undefined;
  /** Why nothing goes on, as logged last. */
  #held: string | undefined;

  constructor(
    private readonly store: Store,
    private readonly log: Log,
  ) {}

  /** Does what is to be done now. Throws what reading the store throws. */
  look(context: RotationPassContext, clocks: Clocks): RotationLook {
    let scene = context;
    for (;;) {
      const changed = scene !== context;
      const own = readOwn(this.store);
      if (own === undefined)
        return { changed, view: { phase: "off", reason: "no identity", waitingFor: [] } };
      const plan = planRotation(own.facts, { ...scene, node: own.node }, this.#memory, clocks);
      const problem = plan.change === undefined ? heldBy(plan.state) : this.#commit(own, plan.change, clocks);
      this.#stand(problem);
      // What could not be done is tried again at the next look, without a new wait.
      if (problem === undefined || plan.change === undefined) this.#memory = plan.memory;
      if (plan.change === undefined || problem !== undefined)
        return {
          changed,
          view: viewOf(plan, problem),
          ...(changed ? { wakeInMs: afterChangeMs } : wakeOf(plan)),
        };
      // Of what was just committed the others cannot know yet.
      scene = { ...context, isPublished: false };
    }
  }

  /** Returns why it could not be done. */
  #commit(own: OwnState, change: RotationChange, clocks: Clocks): string | undefined {
    try {
      const done = this.#change(own, change, clocks);
      if (done) this.#report(own, change);
      return undefined;
    } catch (error) {
      // The mesh must be kept up meanwhile: a rotation is no reason to stop looking.
      if (error instanceof SealError || error instanceof StoreError) return error.message;
      throw error;
    }
  }

  /** False where another process was faster: what comes next is to be decided anew. */
  #change({ identity, settings }: OwnState, change: RotationChange, { wallMs }: Clocks): boolean {
    const { store } = this;
    // Not in the transaction, where others wait: a key takes tens of milliseconds.
    const made =
      change.do === "rekey"
        ? makeSlotKey(readSealKey(settings.sealKeyFile), { node: identity.name, slot: change.slot }, wallMs)
        : undefined;
    return store.transaction(() => {
      const now = store.identity();
      const rotation = store.rotation();
      if (now === undefined || !isSame(now, identity)) return false;
      if (change.do === "begin") {
        if (rotation !== undefined) return false;
        store.putRotation({ remaining: slots, why: "schedule", startedAtMs: wallMs });
        return true;
      }
      const { slot } = change;
      if (rotation?.remaining[0] !== slot) return false;
      store.putIdentity({
        ...now,
        slots: now.slots.map((own) => (own.slot === slot ? (made ?? { ...own, state: "draining" }) : own)),
      });
      if (made === undefined) return true;
      const remaining = rotation.remaining.slice(1);
      store.putRotation(remaining.length === 0 ? undefined : { ...rotation, remaining });
      return true;
    });
  }

  #report({ rotation }: OwnState, change: RotationChange): void {
    const { log } = this;
    switch (change.do) {
      case "begin":
        log.info("this node's keys are due: their rotation begins");
        return;
      case "drain":
        log.info("a slot drains before it gets a new key", { slot: change.slot, why: rotation?.why });
        return;
      case "rekey": {
        const { slot, undrained } = change;
        if (undrained.length > 0)
          log.warn("peers did not leave the slot in time: they lose packets until they take its new key", {
            slot,
            peers: listNames(undrained),
          });
        const isLast = rotation?.remaining.length === 1;
        log.info(isLast ? "a slot has a new key; the rotation is done" : "a slot has a new key", { slot });
      }
    }
  }

  /** One line when it comes to a halt, or for another reason than before. */
  #stand(reason: string | undefined): void {
    if (reason !== undefined && reason !== this.#held)
      this.log.warn("the rotation of this node's keys does not go on", { reason });
    this.#held = reason;
  }
}

function readOwn(store: Store): OwnState | undefined {
  const identity = store.identity();
  if (identity === undefined) return undefined;
  const settings = readSettings(store);
  const rotation = store.rotation();
  const { name, up, slots: keys } = identity;
  return {
    ...{ identity, settings, node: ownRecord(identity, settings) },
    facts: { name, up, keys, settings, ...(rotation === undefined ? {} : { rotation }) },
    ...(rotation === undefined ? {} : { rotation }),
  };
}

/** The same keys in the same states: all that a rotation decides by. */
function isSame(a: Identity, b: Identity): boolean {
  const text = ({ name, up, slots }: Identity) =>
    `${name} ${up} ${slots.map(({ publicKey, state, fault }) => `${publicKey} ${state} ${fault?.reason}`).join(" ")}`;
  return text(a) === text(b);
}

function heldBy(state: RotationState): string | undefined {
  return state.phase === "held" ? state.reason : undefined;
}

function viewOf({ state, waitingFor }: RotationPlan, problem: string | undefined): RotationView {
  return problem === undefined
    ? { ...state, waitingFor }
    : { ...state, phase: "held", reason: problem, waitingFor };
}

function wakeOf({ wakeInMs }: RotationPlan): { readonly wakeInMs?: number } {
  return wakeInMs === undefined ? {} : { wakeInMs };
}

function listNames(names: readonly string[]): string {
  const more = names.length - namedPeers;
  return `${names.slice(0, namedPeers).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
