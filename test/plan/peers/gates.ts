// Helpers of the gate's tests: a peer, its observations, one step, and the decision as a line.
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import type { Slot, SlotState } from "../../../src/net/record.ts";
import { type GateRun, runGate } from "../../../src/plan/peers/gate.ts";
import {
  type GateDecision,
  type GateState,
  type OpenState,
  open,
  type SilentState,
  type WaitingState,
  waiting,
} from "../../../src/plan/peers/gate-state.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import type { PeerObservation, SlotObservation } from "../../../src/plan/peers/observation.ts";
import type { Stalls } from "../../../src/plan/peers/stall.ts";
import { localRecord } from "../random.ts";

export const s = 1000;
/** Well after the process began: no time below is before that. */
export const now = 1_000_000;

export function peer(states: { a?: SlotState; b?: SlotState } = { a: "active", b: "active" }): OwnedPeer {
  const slots = (["a", "b"] as const).flatMap((slot) => {
    const state = states[slot];
    return state === undefined ? [] : [{ slot, publicKey: `key-${slot}`, port: 51820, state }];
  });
  return {
    name: "n2",
    slots,
    endpoints: ["192.0.2.2", "198.51.100.2", "203.0.113.2"],
    nodeIPs: ["192.0.2.2"],
    podCIDRs: ["10.2.0.0/24"],
  };
}

export function observation(times: Partial<SlotObservation>): SlotObservation {
  const counters = { lastHandshakeMs: 0, rxBytes: 0, txBytes: 0 };
  return { publicKey: "key", ownKey: "own", ...counters, ...times };
}

export interface Case {
  readonly peer?: OwnedPeer;
  readonly path?: Partial<PeerPath>;
  /** The state before; if none of these is given, the one that fits the path, for an hour. */
  readonly state?: GateState;
  readonly waiting?: Partial<WaitingState>;
  readonly open?: Partial<OpenState>;
  readonly silent?: Partial<SilentState>;
  readonly observed?: PeerObservation;
  /** By slot, since when the device sends nothing of what enters it. */
  readonly stalledSinceMs?: Partial<Record<Slot, number>>;
  readonly isDisabled?: boolean;
  readonly isWanted?: boolean;
  readonly hasUnprovenIPs?: boolean;
  readonly isAsked?: boolean;
}

const sinceMs = now - 3600 * s;

function stateOf({ path, state, waiting: closed, open: opened, silent }: Case): GateState {
  if (state !== undefined) return state;
  if (silent !== undefined) {
    const before = open(sinceMs);
    const step = { step: "reset-endpoint", stepAtMs: ago(3), round: 1 } as const;
    return { kind: "silent", before, silentSinceMs: ago(100), ...step, ...silent };
  }
  const isOpen = opened !== undefined || (closed === undefined && path?.slot !== undefined);
  return isOpen ? { ...open(sinceMs), ...opened } : { ...waiting(sinceMs), ...closed };
}

export function step(given: Case, nowMs = now, node = localRecord): GateDecision {
  return run(given, nowMs, node).decision;
}

/** One pass, with the rows of the table that it took. */
export function run(given: Case, nowMs = now, node = localRecord): GateRun {
  return runGate(
    {
      ...{ node, peer: given.peer ?? peer(), path: { ...closedPath, ...given.path } },
      ...{ state: stateOf(given), observation: given.observed ?? {}, isDisabled: given.isDisabled ?? false },
      ...{ isWanted: given.isWanted ?? false, isAsked: given.isAsked ?? false },
      hasUnprovenIPs: given.hasUnprovenIPs ?? false,
      stalls: stallsOf(given),
    },
    nowMs,
  );
}

function stallsOf({ stalledSinceMs = {} }: Case): Stalls {
  return Object.fromEntries(
    Object.entries(stalledSinceMs).map(([slot, sinceMs]) => [slot, { packets: 0, sentBytes: 0, sinceMs }]),
  );
}

/** Formats the important parts of a decision in one line. */
export function say({ path, events, readd }: GateDecision): string {
  const kinds = events.map((one) => ("step" in one ? `${one.kind} ${one.step}` : one.kind)).join(", ");
  const words = [path.slot ?? "closed", `candidate ${path.candidate}`];
  if (path.initiate.length > 0) words.push(`initiate ${path.initiate.join("")}`);
  if (path.pinned) words.push("pinned");
  if (readd !== undefined) words.push(`readd ${readd}`);
  return `${words.join(", ")}; ${kinds || "nothing new"}`;
}

export const ago = (seconds: number) => now - seconds * s;
