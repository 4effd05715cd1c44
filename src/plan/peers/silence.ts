// Judges whether silent peers are at fault, or this node is. A peer that died is silent at every node that sends
// to it; those nodes are well. A node whose own uplink or firewall fails finds all of its peers silent. Peers
// without traffic are evidence of neither, so some of them are asked for a handshake. Pure.
import type { Settings } from "../settings/settings.ts";
import type { GateState } from "./gate-state.ts";
import { lastHeardMs } from "./handshakes.ts";
import type { PeerObservation, PeerObservations } from "./observation.ts";
import { slots } from "./path.ts";

export interface Silence {
  /** Names of the peers that do not answer. */
  readonly silent: ReadonlySet<string>;
  /** Names of peers with which a session is wanted, to see whether any peer answers. */
  readonly witnesses: ReadonlySet<string>;
  /** Present if no peer answers, so that this node is cut off. "stalled": nothing of what enters its devices leaves it. */
  readonly cutOff?: "stalled" | "unanswered";
}

export const noSilence: Silence = { silent: new Set(), witnesses: new Set() };

/** Two witnesses beside the peer that is silent: with three silent peers, no other one has to be asked. */
const maxWitnesses = 2;

export interface SilenceFacts {
  readonly states: ReadonlyMap<string, GateState>;
  readonly observations: PeerObservations;
  /** True if a device of this node sends nothing of what enters it. */
  readonly hasStalled: boolean;
}

export function judgeSilence({ states, observations, hasStalled }: SilenceFacts): Silence {
  const silentSinceMs = [...states].flatMap(([name, state]) =>
    state.kind === "silent" ? [[name, state.silentSinceMs] as const] : [],
  );
  const stalled = hasStalled ? ({ cutOff: "stalled" } as const) : {};
  if (silentSinceMs.length === 0) return { ...noSilence, ...stalled };
  const silent = new Set(silentSinceMs.map(([name]) => name));
  const lastMs = Math.max(...silentSinceMs.map(([, sinceMs]) => sinceMs));
  const others = [...states]
    .filter(([, { kind }]) => kind === "open")
    .map(([name]) => ({ name, heardMs: heardMs(observations.get(name)) }));
  if (hasStalled || others.some((other) => other.heardMs > lastMs))
    return { ...noSilence, silent, ...stalled };
  const isCutOff = silent.size > Math.min(maxWitnesses, silent.size + others.length - 1);
  if (isCutOff) return { ...noSilence, silent, cutOff: "unanswered" };
  // The latest that was heard is the likeliest to answer.
  const asked = others.sort((one, other) => other.heardMs - one.heardMs).slice(0, maxWitnesses);
  return { silent, witnesses: new Set(asked.map(({ name }) => name)) };
}

/** A sentence about a node that is cut off; undefined if it is not. */
export function describeCutOff({ cutOff, silent }: Silence, { portA, portB }: Settings): string | undefined {
  if (cutOff === undefined) return undefined;
  const remedy = `Check its uplink and its firewall: UDP ${portA} and ${portB} must pass in both directions.`;
  if (cutOff === "stalled")
    return `This node is cut off: packets enter its WireGuard devices, and nothing leaves it. ${remedy}`;
  const silence =
    silent.size === 1 ? "the peer that it sends to is silent" : `${silent.size} peers are silent`;
  return `This node is cut off: ${silence}, and no other has answered since. ${remedy}`;
}

function heardMs(observation: PeerObservation = {}): number {
  return Math.max(...slots.map((slot) => lastHeardMs(observation, slot, Number.NEGATIVE_INFINITY)));
}
