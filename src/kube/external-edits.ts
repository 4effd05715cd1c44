// Records that somebody else than their agent has changed: taken a while later. Their
// agent puts its own back within a second, and whoever had obeyed meanwhile would have
// dropped packets; only where no agent is there to do so does the change stand. Pure:
// time is an argument.
import type { RecordObject } from "./object.ts";

/** An agent that is restarted is back by then. */
export const editHoldMs = 10_000;

/** By name, those that are waited for, and since when in milliseconds. */
export type ExternalEdits = ReadonlyMap<string, number>;

export interface ExternalEditFacts {
  /** Objects that have changed, and those that are waited for. */
  readonly changed: readonly RecordObject[];
  /** Peers that came from the API: of the others there is nothing to hold on to. */
  readonly known: ReadonlySet<string>;
  /** As the last plan has it. */
  readonly edits: ExternalEdits;
  /** Milliseconds of a clock that only goes forward. */
  readonly nowMs: number;
}

export interface ExternalEditPlan {
  readonly take: readonly RecordObject[];
  readonly edits: ExternalEdits;
  /** When the next of them is taken. */
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
