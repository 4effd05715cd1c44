// Plans how the store's peers follow the API's objects: which records are stored, in which order, and
// which objects are rejected. Pure.

import { compareText } from "../net/human-format.ts";
import type { NodeRecord, Slot } from "../net/record.ts";
import type { RejectedFile } from "../plan/records/directory.ts";
import { explainPresence, type Presence } from "./census.ts";
import { meshObjectName } from "./mesh.ts";
import { isOlder, objectLabel, type RecordObject } from "./object.ts";

/**
 * Records to be put, the node's own left out. Of two that claim the same, the store takes the one that
 * is put first as the owner, so those of known peers go first, in the order in which they were
 * written; of the others, those that were made first, so that a node that joins decides as those that
 * saw the objects being made.
 */
export function recordsToPut(
  objects: Iterable<RecordObject>,
  ownName: string | undefined,
  known: ReadonlySet<string>,
): NodeRecord[] {
  const others = [...objects].filter(({ name }) => name !== ownName);
  const isKnown = ({ name }: RecordObject) => known.has(name);
  return [
    ...others.filter(isKnown).sort(compareWritten),
    ...others.filter((object) => !isKnown(object)).sort(compareAge),
  ].flatMap(({ verdict }) => ("record" in verdict ? [verdict.record] : []));
}

/**
 * Slots of this node whose key another record names, and the API's record of this node does not: the
 * admission policy refuses them to whoever comes second.
 */
export function findTakenSlots(objects: Iterable<RecordObject>, { name, slots }: NodeRecord): Slot[] {
  const keys = { own: new Set<string>(), others: new Set<string>() };
  for (const seen of objects)
    if ("record" in seen.verdict)
      for (const { publicKey } of seen.verdict.record.slots)
        keys[seen.name === name ? "own" : "others"].add(publicKey);
  const isTaken = (key: string) => keys.others.has(key) && !keys.own.has(key);
  return slots.filter(({ publicKey }) => isTaken(publicKey)).map(({ slot }) => slot);
}

/** Objects that are not taken, by name. `known`: peers that came from the API; `presenceOf`: whether their Nodes are there. */
export function explainRejected(
  objects: Iterable<RecordObject>,
  ownName: string | undefined,
  known: ReadonlySet<string>,
  presenceOf: (object: RecordObject) => Presence | undefined,
): RejectedFile[] {
  const refused = [...objects].flatMap((object) => {
    const { name, verdict } = object;
    // Its own is written again, not read.
    if (name === ownName) return [];
    const gone = explainPresence(name, presenceOf(object));
    if (gone !== undefined) return [{ file: objectLabel(name), reason: gone }];
    if ("record" in verdict) return [];
    const stays = known.has(name) ? "; the record taken before stays" : "";
    return [{ file: objectLabel(name), reason: `${verdict.reason}${stays}` }];
  });
  return refused.sort((a, b) => (a.file < b.file ? -1 : 1));
}

/** Names in the list of rejected records that stand for a problem of all records. */
export const obstacleNames = { outage: "kubernetes", doubt: "wireguardnodes" } as const;

/** Name of a Node object in the list of rejected records. */
export function nodeObjectName(node: string): string {
  return `node/${node}`;
}

/** True if the entry is a problem of all records, and not a rejected record of another node. */
export function isObstacle(file: string, ownName: string): boolean {
  return (
    file === obstacleNames.outage ||
    file === obstacleNames.doubt ||
    file === objectLabel(ownName) ||
    file === meshObjectName ||
    file === nodeObjectName(ownName)
  );
}

/** Orders objects by creation time, then by name: the same order on every node. */
export function compareAge(a: RecordObject, b: RecordObject): number {
  return compareText(a.createdAt, b.createdAt) || compareText(a.name, b.name);
}

/** Orders objects by the time of the last write. */
function compareWritten(a: RecordObject, b: RecordObject): number {
  if (isOlder(a.resourceVersion, b.resourceVersion)) return -1;
  return isOlder(b.resourceVersion, a.resourceVersion) ? 1 : compareText(a.name, b.name);
}
