// What the store's peers become by what the API shows: which records are put,
// and in which order, and which objects are refused. Pure.
import type { NodeRecord } from "../net/record.ts";
import type { RefusedFile } from "../plan/folder.ts";
import { refusedName, type SeenObject } from "./object.ts";

/**
 * Records to be put, the node's own left out, those that were made first at the front. Of two that
 * claim the same, the store takes the one that is put first as the owner, so a node that joins decides as
 * those that saw the objects being made.
 */
export function recordsToPut(objects: Iterable<SeenObject>, ownName: string | undefined): NodeRecord[] {
  return [...objects]
    .filter(({ name }) => name !== ownName)
    .sort(byAge)
    .flatMap(({ verdict }) => ("record" in verdict ? [verdict.record] : []));
}

/** Objects that are not taken, by name. `known`: peers that came from the API. */
export function explainRefused(
  objects: Iterable<SeenObject>,
  ownName: string | undefined,
  known: ReadonlySet<string>,
): RefusedFile[] {
  const refused = [...objects].flatMap(({ name, verdict }) => {
    // Its own is written again, not read.
    if ("record" in verdict || name === ownName) return [];
    const stays = known.has(name) ? "; the record taken before stays" : "";
    return [{ file: refusedName(name), reason: `${verdict.reason}${stays}` }];
  });
  return refused.sort((a, b) => (a.file < b.file ? -1 : 1));
}

function byAge(a: SeenObject, b: SeenObject): number {
  return compareText(a.createdAt, b.createdAt) || compareText(a.name, b.name);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
