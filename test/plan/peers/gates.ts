// What the gate's tests are written in: a peer, what was seen of it, one step, and its decision as a line.
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import type { SlotState } from "../../../src/net/record.ts";
import { type GateDecision, type GateMemory, stepGate } from "../../../src/plan/peers/gate.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import type { PeerObservation, SlotObservation } from "../../../src/plan/peers/observation.ts";
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

export function sight(times: Partial<SlotObservation>): SlotObservation {
  const counters = { lastHandshakeMs: 0, rxBytes: 0, txBytes: 0 };
  return { publicKey: "key", ownKey: "own", ...counters, ...times };
}

export interface Case {
  readonly peer?: OwnedPeer;
  readonly path?: Partial<PeerPath>;
  readonly memory?: Partial<GateMemory>;
  readonly sight?: PeerObservation;
  readonly held?: boolean;
  readonly isWanted?: boolean;
  readonly isAsked?: boolean;
}

export function step(given: Case, nowMs = now, node = localRecord): GateDecision {
  const since = { sinceMs: now - 3600 * s, triedAtMs: now - 3600 * s, tries: 0 };
  const silent = given.memory?.rung === undefined ? {} : { silentSinceMs: ago(100) };
  const memory = { ...since, ...silent, isOpen: given.path?.slot !== undefined, ...given.memory };
  return stepGate(
    {
      ...{ node, peer: given.peer ?? peer(), path: { ...closedPath, ...given.path } },
      ...{ memory, sight: given.sight ?? {}, held: given.held ?? false },
      ...{ isWanted: given.isWanted ?? false, isAsked: given.isAsked ?? false },
    },
    nowMs,
  );
}

/** What matters of a decision, in one line. */
export function say({ path, news, readd }: GateDecision): string {
  const kinds = news.map((one) => ("rung" in one ? `${one.kind} ${one.rung}` : one.kind)).join(", ");
  const words = [path.slot ?? "closed", `candidate ${path.candidate}`];
  if (path.initiate.length > 0) words.push(`initiate ${path.initiate.join("")}`);
  if (path.pinned) words.push("pinned");
  if (readd !== undefined) words.push(`readd ${readd}`);
  return `${words.join(", ")}; ${kinds || "nothing new"}`;
}

export const ago = (seconds: number) => now - seconds * s;
