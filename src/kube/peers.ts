// Plans how the store's peers follow the API's objects: which records are stored, in which order, and
// which objects are rejected. Pure.

import { compareText } from "../net/human-format.ts";
import type { NodeRecord, Slot } from "../net/record.ts";
import type { RejectedFile } from "../plan/records/directory.ts";
import { explainPresence, type Presence } from "./census.ts";
import { meshObjectName } from "./mesh.ts";
import { isOlder, objectLabel, type RecordObject } from "./object.ts";

/**
 * Returns the records to store, without the node's own. If two records claim the same, the one that is
 * stored first is the owner. So the records of known peers come first, in the order of their last
 * writes. The records of new peers follow in the order of their objects' creation, so that a node that
 * joins decides as the nodes that saw the objects being created.
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
 * Returns the slots of this node whose key another record names, and the API's record of this node
 * does not: the admission policy refuses a key to the second record that names it.
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

/** Explains the rejected objects, by name. `known`: peers that came from the API; `presenceOf`: the presence of an object's Node. */
export function explainRejected(
  objects: Iterable<RecordObject>,
  ownName: string | undefined,
  known: ReadonlySet<string>,
  presenceOf: (object: RecordObject) => Presence | undefined,
): RejectedFile[] {
  const refused = [...objects].flatMap((object) => {
    const { name, verdict } = object;
    // The node's own object is written again, not read.
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
