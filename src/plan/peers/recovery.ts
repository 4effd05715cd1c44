// The recovery steps for a peer that stays silent while this node sends to it. The gate takes one step
// after another until the peer answers: set the endpoint that the record names, remove the peer from the
// device and add it again, and initiate on the other slot. Pure: time is an argument.
import type { Slot } from "../../net/record.ts";
import {
  type GateContext,
  type GateDecision,
  type RecoveryStep,
  recoverySteps,
  type SilentState,
} from "./gate-state.ts";
import { recoveryPauseMs, recoveryStepMs } from "./gate-timers.ts";
import { isFresh } from "./handshakes.ts";
import { endpointCandidates, otherSlot, usableSlot } from "./path.ts";

/** A step and the state after it. */
export type Recovery = GateDecision & { readonly state: SilentState };

/** True if the last step had its time without success. */
export function isStepDue({ step, stepAtMs }: SilentState, nowMs: number): boolean {
  const isLast = step === recoverySteps.at(-1);
  return nowMs - stepAtMs >= (isLast ? recoveryPauseMs : recoveryStepMs);
}

/** Starts the recovery when the silence is found. The silence began when this node sent a packet that is still unanswered, or asked the peer. */
export function startRecovery(context: GateContext<"open">): Recovery {
  const { state: before, observation, path, nowMs } = context;
  const silentSinceMs = observation[path.slot]?.unansweredSinceMs ?? before.askedAtMs ?? nowMs;
  const step = recoverySteps[0];
  const state = { kind: "silent", before, silentSinceMs, step, stepAtMs: nowMs, round: 1 } as const;
  // The first step keeps the endpoint that the record names, because the peer may have roamed from it.
  return resetEndpoint(context, state, path.candidate);
}

/** Takes the next step. The first step of a later round tries the next endpoint. */
export function continueRecovery(context: GateContext<"silent">): Recovery {
  const { state: last, path, nowMs } = context;
  const step = recoverySteps[(recoverySteps.indexOf(last.step) + 1) % recoverySteps.length] as RecoveryStep;
  const state = { ...last, step, stepAtMs: nowMs };
  switch (step) {
    case "reset-endpoint":
      return resetEndpoint(context, { ...state, round: last.round + 1 }, path.candidate + 1);
    case "re-add":
      return { ...recovered(context, state, [path.slot]), readd: path.slot };
    case "other-slot":
      return tryOtherSlot(context, state);
  }
}

function resetEndpoint(
  context: GateContext<"open" | "silent">,
  state: SilentState,
  candidate: number,
): Recovery {
  const { node, peer, path } = context;
  const count = Math.max(1, endpointCandidates(node, peer).length);
  const taken = recovered(context, state, [path.slot]);
  return { ...taken, path: { ...taken.path, candidate: candidate % count, pinned: true } };
}

function tryOtherSlot(context: GateContext<"silent">, state: SilentState): Recovery {
  const { peer, path, observation, nowMs } = context;
  const other = otherSlot(path.slot);
  if (usableSlot(peer, other) === undefined) return recovered(context, state, [path.slot]);
  const taken = recovered(context, state, [path.slot, other]);
  // A keepalive within a session makes no handshake, and a handshake from before the silence proves nothing.
  return isFresh(observation, other, nowMs) ? { ...taken, readd: other } : taken;
}

function recovered(
  { path }: GateContext<"open" | "silent">,
  state: SilentState,
  initiate: readonly Slot[],
): Recovery {
  const { step, round } = state;
  const events = [{ kind: "silent", slot: path.slot, step, round }] as const;
  return { path: { ...path, initiate }, state, events, hurry: true };
}
