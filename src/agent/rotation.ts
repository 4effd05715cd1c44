// Runs the key rotation: asks plan/keys/rotation.ts for the next change, commits it, and logs one line
// for it. The agent programs and publishes the new state right after. The transaction checks the
// decision again, so keys that an operator has just exchanged are never put back.
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
import { ownRecord, readSettings } from "../reconcile/node-reader.ts";
import { StoreError } from "../state/error.ts";
import type { Identity, Rotation } from "../state/model.ts";
import { readSealKey, SealError } from "../state/seal.ts";
import { makeSlotKey } from "../state/slot-key.ts";
import type { Store } from "../state/store.ts";
import type { Log } from "../telemetry/log.ts";
import { type Problem, ProblemLog } from "../telemetry/problem-log.ts";

/** After a change the agent publishes it, and the next pass comes this soon. */
const afterChangeMs = 1000;
/** A rotation that waits for peers for this long names them; most leave a slot within seconds. */
const longWaitMs = 30_000;
/** A log line names at most this many peers. */
const namedPeers = 10;

/** The peers, as the agent observes them now. */
export type RotationPassContext = Omit<RotationContext, "node">;

export interface RotationResult {
  /** True if the identity was changed: program and publish it. */
  readonly changed: boolean;
  readonly view: RotationView;
  readonly wakeInMs?: number;
}

export interface RotationView {
  readonly phase: RotationState["phase"];
  readonly slot?: Slot;
  /** Why the rotation does not proceed. */
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
  readonly #problems: ProblemLog;
  #memory: RotationMemory | undefined;
  /** The slot that peers are to leave, and the time since which; absent if none is waited for. */
  #wait: { readonly slot: Slot | undefined; readonly sinceMs: number } | undefined;

  constructor(
    private readonly store: Store,
    private readonly log: Log,
  ) {
    this.#problems = new ProblemLog(log);
  }

  /** Makes the changes that are due. Throws what reading the store throws. */
  reconcile(context: RotationPassContext, clocks: Clocks): RotationResult {
    let current = context;
    for (;;) {
      const changed = current !== context;
      const own = readOwn(this.store);
      if (own === undefined)
        return { changed, view: { phase: "off", reason: "no identity", waitingFor: [] } };
      const plan = planRotation(own.facts, { ...current, node: own.node }, this.#memory, clocks);
      const problem =
        plan.change === undefined ? haltReason(plan.state) : this.#commit(own, plan.change, clocks);
      this.#reportHalt(problem);
      this.#reportWait(plan, clocks.nowMs);
      // The next pass tries again what failed, without a new wait.
      if (problem === undefined || plan.change === undefined) this.#memory = plan.memory;
      if (plan.change === undefined || problem !== undefined)
        return {
          changed,
          view: viewOf(plan, problem),
          ...(changed ? { wakeInMs: afterChangeMs } : wakeOf(plan)),
        };
      // Peers cannot know yet what was just committed.
      current = { ...context, isPublished: false };
    }
  }

  /** Returns the reason if the change failed. */
  #commit(own: OwnState, change: RotationChange, clocks: Clocks): string | undefined {
    try {
      const done = this.#change(own, change, clocks);
      if (done) this.#report(own, change);
      return undefined;
    } catch (error) {
      // The mesh must be kept up meanwhile: a failed rotation must not end the pass.
      if (error instanceof SealError || error instanceof StoreError) return error.message;
      throw error;
    }
  }

  /** Returns false if another process was faster: the next change must be decided anew. */
  #change({ identity, settings }: OwnState, change: RotationChange, { wallMs }: Clocks): boolean {
    const { store } = this;
    // This is outside the transaction, which blocks other processes: a key takes tens of milliseconds.
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
        log.info("keys of this node are due: their rotation begins");
        return;
      case "drain":
        log.info("slot drains before it gets a new key", { slot: change.slot, why: rotation?.why });
        return;
      case "rekey": {
        const { slot, undrained } = change;
        if (undrained.length > 0)
          log.warn("peers did not leave the slot in time: what they still send to its old key is lost", {
            slot,
            peers: listNames(undrained),
          });
        const isLast = rotation?.remaining.length === 1;
        log.info(isLast ? "slot has a new key; the rotation is done" : "slot has a new key", { slot });
      }
    }
  }

  #reportHalt(reason: string | undefined): void {
    const problem = { message: "key rotation halted", fields: { reason } };
    this.#problems.reportOnChange("halt", reason === undefined ? undefined : problem);
  }

  /** Reports a wait that takes long, with the peers' names. */
  #reportWait({ state, waitingFor }: RotationPlan, nowMs: number): void {
    const slot = "slot" in state ? state.slot : undefined;
    if (waitingFor.length === 0) this.#wait = undefined;
    else if (this.#wait === undefined || this.#wait.slot !== slot) this.#wait = { slot, sinceMs: nowMs };
    const isLong = this.#wait !== undefined && nowMs - this.#wait.sinceMs >= longWaitMs;
    const problem: Problem = {
      level: "info",
      message: "rotation waits for peers to leave the slot",
      fields: { slot },
      details: () => ({ peers: listNames(waitingFor) }),
    };
    this.#problems.reportOnChange("wait", isLong ? problem : undefined);
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

/** True if keys and states are the same, which is all that a rotation depends on. */
function isSame(a: Identity, b: Identity): boolean {
  const text = ({ name, up, slots }: Identity) =>
    `${name} ${up} ${slots.map(({ publicKey, state, fault }) => `${publicKey} ${state} ${fault?.reason}`).join(" ")}`;
  return text(a) === text(b);
}

function haltReason(state: RotationState): string | undefined {
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
