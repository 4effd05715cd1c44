// The facts that the gate of one peer gets, its state, and its decision.
import type { PeerPath } from "../../net/path.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import type { OwnedPeer } from "./model.ts";
import type { PeerObservation } from "./observation.ts";
import type { Stalls } from "./stall.ts";

/** The recovery steps for a silent peer in their order (recovery.ts). */
export const recoverySteps = ["reset-endpoint", "re-add", "other-slot"] as const;
export type RecoveryStep = (typeof recoverySteps)[number];

/** The peer's own record says that the peer has no key. */
export interface KeylessState {
  readonly kind: "keyless";
  /** The last pass at which this was so. */
  readonly sinceMs: number;
}

/** The gate is closed until a handshake with the peer succeeds. */
export interface WaitingState {
  readonly kind: "waiting";
  readonly sinceMs: number;
  /** When the gate began to use the present endpoint. */
  readonly endpointSinceMs: number;
  /** How often the gate has changed the endpoint. */
  readonly endpointChanges: number;
  /** When an operator closed the gate: older handshakes do not open it again. */
  readonly releasedAtMs?: number;
}

/** The peer's traffic is in the tunnel. */
export interface OpenState {
  readonly kind: "open";
  /** When this process first saw the gate open: silence is measured from here at the earliest. */
  readonly sinceMs: number;
  /** Since when the slot drains and the other one has no session. */
  readonly drainSinceMs?: number;
  /** When the gate asked the peer for a sign of life. */
  readonly askedAtMs?: number;
  /** True if the peer's record asked for a handshake at the last pass. */
  readonly wasAsked?: true;
}

/** The peer's traffic is in the tunnel, and the peer answers nothing. */
export interface SilentState {
  readonly kind: "silent";
  /** The state that the gate returns to if the peer answers. */
  readonly before: OpenState;
  /** When the silence began: nothing that this node sent since then was answered. */
  readonly silentSinceMs: number;
  /** The last recovery step. */
  readonly step: RecoveryStep;
  readonly stepAtMs: number;
  /** How often the recovery steps have begun. */
  readonly round: number;
}

/** The gate's memory of a peer between two passes. It need not survive a restart. */
export type GateState = KeylessState | WaitingState | OpenState | SilentState;
export type GateKind = GateState["kind"];
export type StateOf<K extends GateKind> = States[K];

interface States {
  readonly keyless: KeylessState;
  readonly waiting: WaitingState;
  readonly open: OpenState;
  readonly silent: SilentState;
}

/** The path of an open gate. */
type OpenPath = PeerPath & { readonly slot: Slot };

interface Paths {
  readonly keyless: PeerPath;
  readonly waiting: PeerPath;
  readonly open: OpenPath;
  readonly silent: OpenPath;
}

export interface GateFacts {
  readonly node: NodeRecord;
  readonly peer: OwnedPeer;
  /** As stored; closedPath if nothing is stored. */
  readonly path: PeerPath;
  /** Absent at the first pass of this process. */
  readonly state?: GateState;
  readonly observation: PeerObservation;
  /** By slot, whether this node's device sends what enters it; a slot that was not read is left out. */
  readonly stalls?: Stalls;
  /** True in mode off: the gate makes handshakes and leaves traffic alone. */
  readonly isDisabled: boolean;
  /** True if a session is wanted although nothing is sent. */
  readonly isWanted?: boolean;
  /** True if a handshake must still prove a node IP of the peer (node-ip-proof.ts). */
  readonly hasUnprovenIPs?: boolean;
  /** True if the peer asks this node to initiate a handshake, because the peer's own are not answered. */
  readonly isAsked?: boolean;
}

/** The context that conditions and effects of the table get, for the states that they apply to. */
export interface GateContext<K extends GateKind = GateKind> extends Omit<GateFacts, "state" | "path"> {
  readonly state: StateOf<K>;
  readonly path: Paths[K];
  /** The slot that traffic should take. It is "a" if no key of the peer can be used, and then nothing reads it. */
  readonly preferred: Slot;
  readonly nowMs: number;
}

export type MoveReason = "drained" | "silent" | "withdrawn" | "refused";

/** An event of the gate, for the log and the counters. */
export type GateEvent =
  | { readonly kind: "opened"; readonly slot: Slot }
  | { readonly kind: "moved"; readonly slot: Slot; readonly why: MoveReason }
  | { readonly kind: "closed"; readonly why: "keyless" | "off" }
  | { readonly kind: "candidate"; readonly endpoint: string }
  | { readonly kind: "silent"; readonly slot: Slot; readonly step: RecoveryStep; readonly round: number }
  | { readonly kind: "answers" };

export interface GateDecision {
  readonly path: PeerPath;
  readonly state: GateState;
  readonly events: readonly GateEvent[];
  /** The agent must remove the peer from this slot's device and add it again. */
  readonly readd?: Slot;
  /** True if the next pass should come soon. */
  readonly hurry: boolean;
}

export function keyless(nowMs: number): KeylessState {
  return { kind: "keyless", sinceMs: nowMs };
}

export function waiting(sinceMs: number): WaitingState {
  return { kind: "waiting", sinceMs, endpointSinceMs: sinceMs, endpointChanges: 0 };
}

export function open(sinceMs: number): OpenState {
  return { kind: "open", sinceMs };
}
