// Reads the progress of this node's key rotation from the store, for `status` and `key rotate`. The
// peers that the agent waits for are in its log and metrics.
import { formatAge, formatSpan } from "../net/human-format.ts";
import { describeRotation, type RotationState } from "../plan/keys/rotation.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { Identity, Rotation } from "../state/model.ts";
import type { Store } from "../state/store.ts";

export type RotationStatus = RotationState & Partial<Rotation>;

export function readRotation(
  store: Store,
  { name, up, slots: keys }: Identity,
  nowMs: number,
): RotationStatus {
  const rotation = store.rotation();
  const facts = { name, up, keys, settings: readSettings(store) };
  return { ...describeRotation(rotation === undefined ? facts : { ...facts, rotation }, nowMs), ...rotation };
}

/** Returns the line for the head of `status`. */
export function renderRotation(status: RotationStatus, nowMs: number): string {
  switch (status.phase) {
    case "off":
      return `not rotated: ${status.reason}`;
    case "scheduled": {
      const leftMs = status.nextAtMs - nowMs;
      return leftMs <= 0 ? "due for rotation" : `new ones in ${formatSpan(leftMs)}`;
    }
    case "next":
    case "draining":
    case "held": {
      const now = { next: "is next", draining: "drains", held: `waits: ${reasonOf(status)}` }[status.phase];
      return `rotating ${describeOrigin(status, nowMs)}: slot ${status.slot} ${now}`;
    }
  }
}

/** Returns text such as "by command, begun 3 min ago". */
export function describeOrigin(
  { why, startedAtMs = 0 }: Pick<Partial<Rotation>, "why" | "startedAtMs">,
  nowMs: number,
): string {
  return `${why === "schedule" ? "on schedule" : "by command"}, begun ${formatAge(startedAtMs, nowMs)}`;
}

function reasonOf(state: RotationState): string {
  return "reason" in state ? state.reason : "";
}
