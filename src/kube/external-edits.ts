// Delays records that another writer than their agent has changed. Their agent restores its own record
// within a second, and a node that had obeyed meanwhile would have dropped packets. The change is
// accepted only if no agent restores the record. Pure: time is an argument.
import type { RecordObject } from "./object.ts";

/** An agent that restarts is back by then. */
export const editHoldMs = 10_000;

/** Delayed records by name, with the time of the change in milliseconds. */
export type ExternalEdits = ReadonlyMap<string, number>;

export interface ExternalEditFacts {
  /** Objects that have changed, and delayed ones. */
  readonly changed: readonly RecordObject[];
  /** Peers that came from the API; only these have an earlier record to keep. */
  readonly known: ReadonlySet<string>;
  /** Result of the last plan. */
  readonly edits: ExternalEdits;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: number;
}

export interface ExternalEditPlan {
  readonly take: readonly RecordObject[];
  readonly edits: ExternalEdits;
  /** Time until the next delayed record is accepted. */
  readonly wakeInMs?: number;
}

export function planExternalEdits({ changed, known, edits, nowMs }: ExternalEditFacts): ExternalEditPlan {
  const sinceMs = ({ name }: RecordObject) => edits.get(name) ?? nowMs;
  const isWaitedFor = (object: RecordObject) =>
    object.isEditedExternally && known.has(object.name) && nowMs - sinceMs(object) < editHoldMs;
  const waiting = changed.filter(isWaitedFor);
  const dueMs = waiting.map((object) => sinceMs(object) + editHoldMs - nowMs);
  return {
    take: changed.filter((object) => !isWaitedFor(object)),
    edits: new Map(waiting.map((object) => [object.name, sinceMs(object)])),
    ...(waiting.length === 0 ? {} : { wakeInMs: Math.min(...dueMs) }),
  };
}
