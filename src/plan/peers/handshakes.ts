// Judges what the handshakes with a peer prove, by the observations of its slots. Pure: time is an argument.
import type { Slot } from "../../net/record.ts";
import { rekeyTimeoutMs } from "../../net/wireguard-timers.ts";
import { provenMs, sessionFreshMs } from "./gate-timers.ts";
import type { PeerObservation, SlotObservation } from "./observation.ts";
import { slots } from "./path.ts";

const never = Number.NEGATIVE_INFINITY;

/** Returns the time of the slot's last handshake; minus infinity if there was none. */
export function handshakeMs(observation: PeerObservation, slot: Slot): number {
  return observation[slot]?.handshakeAtMs ?? never;
}

/** True if the slot has a session that still lasts for a while. */
export function isFresh(observation: PeerObservation, slot: Slot, nowMs: number): boolean {
  return nowMs - handshakeMs(observation, slot) < sessionFreshMs;
}

/** True if a handshake on either slot is younger than `ms`. */
export function hadHandshakeWithin(ms: number, observation: PeerObservation, nowMs: number): boolean {
  return slots.some((slot) => nowMs - handshakeMs(observation, slot) < ms);
}

/** True if the slot has had no handshake although one was due: packets to the peer are lost. */
export function hasNoSession(slot: SlotObservation | undefined, nowMs: number): boolean {
  const { handshakeAtMs, unansweredSinceMs = nowMs } = slot ?? {};
  return handshakeAtMs === undefined && nowMs - unansweredSinceMs > rekeyTimeoutMs;
}

/** True if a handshake on either slot has shown recently that the peer could be encrypted to. */
export function isProved(observation: PeerObservation, nowMs: number): boolean {
  return hadHandshakeWithin(provenMs, observation, nowMs);
}

/** Returns the time at which this node last received a packet of the peer on the slot, but at least `sinceMs`. */
export function lastHeardMs(observation: PeerObservation, slot: Slot, sinceMs: number): number {
  return Math.max(observation[slot]?.heardAtMs ?? never, handshakeMs(observation, slot), sinceMs);
}
