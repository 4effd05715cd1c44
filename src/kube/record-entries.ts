// Converts the API's objects to entries of their nodes, and decides when their absence is believed. Pure.

import { compareText, countOf } from "../net/human-format.ts";
import type { NodeRecord, Slot } from "../net/record.ts";
import type { AbsenceRule, RecordEntry } from "../plan/records/peer-changes.ts";
import { explainPresence, type Presence } from "./census.ts";
import { meshObjectName } from "./mesh-object.ts";
import { objectLabel, type RecordObject, sortableVersion } from "./object.ts";

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

/** Converts an object to the entry of its node; `presence`: the presence of its Node, undefined before the API has answered. */
export function toEntry(object: RecordObject, presence: Presence | undefined): RecordEntry {
  const { name, verdict, createdAt, isEditedExternally } = object;
  const file = objectLabel(name);
  const gone = explainPresence(name, presence);
  if (gone !== undefined) return { state: "gone", file, reason: gone };
  if ("reason" in verdict) return { state: "rejected", file, reason: verdict.reason };
  if (presence === undefined) return { state: "pending" };
  const writtenAt = sortableVersion(object.resourceVersion);
  return { state: "valid", record: verdict.record, createdAt, writtenAt, isEditedExternally };
}

/**
 * If an object is deleted by mistake, its node writes it again at once; an object that goes with its Node
 * does not come back. If most objects are gone, a deleted resource or a restored old state is more likely
 * than the loss of the nodes.
 */
export const apiAbsences: AbsenceRule = {
  waitMs: 10_000,
  doubtedWaitMs: 300_000,
  isDoubtful: ({ gone, known }) => gone > 1 && 2 * gone > known,
  explain: (gone, known) =>
    `The Kubernetes API has no WireGuardNode, or no Node, any more for ${gone} of ${countOf(known, "peer")} that came from it: was the resource deleted, or an old state restored? They stay for ${apiAbsences.doubtedWaitMs / 60_000} min; \`wg-cni peer remove\` takes one away at once.`,
};

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
