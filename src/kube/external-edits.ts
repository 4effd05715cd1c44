// Records that somebody else than their agent has changed: taken a while later. Their
// agent puts its own back within a second, and whoever had obeyed meanwhile would have
// dropped packets; only where no agent is there to do so does the change stand. Pure:
// time is an argument.
import type { SeenObject } from "./object.ts";

/** An agent that is restarted is back by then. */
export const editedMs = 10_000;

/** By name, those that are waited for, and since when in milliseconds. */
export type Edits = ReadonlyMap<string, number>;

export interface EditedFacts {
  /** Objects that have changed, and those that are waited for. */
  readonly seen: readonly SeenObject[];
  /** Peers that came from the API: of the others there is nothing to hold on to. */
  readonly known: ReadonlySet<string>;
  /** As the last plan has it. */
  readonly edits: Edits;
  /** Milliseconds of a clock that only goes forward. */
  readonly nowMs: number;
}

export interface EditedPlan {
  readonly take: readonly SeenObject[];
  readonly edits: Edits;
  /** When the next of them is taken. */
  readonly wakeInMs?: number;
}

export function planEdited({ seen, known, edits, nowMs }: EditedFacts): EditedPlan {
  const sinceMs = ({ name }: SeenObject) => edits.get(name) ?? nowMs;
  const isWaitedFor = (object: SeenObject) =>
    object.isEdited && known.has(object.name) && nowMs - sinceMs(object) < editedMs;
  const waiting = seen.filter(isWaitedFor);
  const dueMs = waiting.map((object) => sinceMs(object) + editedMs - nowMs);
  return {
    take: seen.filter((object) => !isWaitedFor(object)),
    edits: new Map(waiting.map((object) => [object.name, sinceMs(object)])),
    ...(waiting.length === 0 ? {} : { wakeInMs: Math.min(...dueMs) }),
  };
}
