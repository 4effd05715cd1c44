// Finds out whether the Node of a record exists. The garbage collector deletes a record
// with its Node, but a token of the Node's pods stays valid for a while and may write the
// record again, and no admission policy can find out that there is no Node. So every agent
// asks: a record counts while there is a Node with its name and with the UID of the
// record's owner. Only the API's answer proves absence; before the first answer, records
// that were accepted earlier stay. Pure: time is an argument.
//
//   object                             asked
//   ─────────────────────────────────  ─────────────────────────────────────────────
//   any                                with all Nodes, once a minute; every N s of N
//   new, recreated, or another owner   at once
//   without its Node                   again after 3 s, 6 s, 12 s, …
//
// All agents together list the Nodes at most once a second. A watch of all Nodes would
// send each heartbeat of each Node to each agent.
import type { RecordObject } from "./object.ts";

/** "replaced": there is a Node of that name, but it is not the record's owner. */
export type Presence = "present" | "absent" | "replaced";

/** The API's answer about an object's Node. */
export interface PresenceAnswer {
  /** UIDs of the object and of its owner at the time of the request; the answer is valid only for these. */
  readonly uid: string;
  readonly nodeUid: string;
  readonly presence: Presence;
  readonly atMs: number;
  /** Number of consecutive answers without the Node. */
  readonly absences: number;
}

/** The answers by the object's name. */
export type PresenceAnswers = ReadonlyMap<string, PresenceAnswer>;

export interface CensusFacts {
  readonly objects: ReadonlyMap<string, RecordObject>;
  /** This node's name; its own Node is watched instead. */
  readonly ownName: string | undefined;
  readonly answers: PresenceAnswers;
  /** Time of the next list of all Nodes; undefined before the first one. */
  readonly nextListMs: number | undefined;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: number;
}

/** The Nodes to ask about now, or the time until the next request. */
export type CensusPlan =
  | { readonly ask: "all" }
  | { readonly ask: readonly string[] }
  | { readonly wakeInMs: number };

/** A larger number of Nodes is read by one list. */
const maxSingles = 8;
const firstRecheckMs = 3000;
const minSpacingMs = 60_000;

/** Returns undefined before the API has answered about this object and this owner. */
export function findPresence(
  { name, uid, nodeUid }: RecordObject,
  answers: PresenceAnswers,
): Presence | undefined {
  const answer = answers.get(name);
  return answer?.uid === uid && answer.nodeUid === nodeUid ? answer.presence : undefined;
}

export function planCensus({ objects, ownName, answers, nextListMs, nowMs }: CensusFacts): CensusPlan {
  if (nextListMs === undefined || nextListMs <= nowMs) return { ask: "all" };
  const names: string[] = [];
  let nextMs = nextListMs;
  for (const object of objects.values()) {
    if (object.name === ownName) continue;
    const dueMs = findDueMs(object, answers);
    if (dueMs <= nowMs) names.push(object.name);
    else nextMs = Math.min(nextMs, dueMs);
  }
  if (names.length === 0) return { wakeInMs: nextMs - nowMs };
  return { ask: names.length > maxSingles ? "all" : names };
}

function findDueMs(object: RecordObject, answers: PresenceAnswers): number {
  const presence = findPresence(object, answers);
  if (presence === undefined) return Number.NEGATIVE_INFINITY;
  if (presence === "present") return Number.POSITIVE_INFINITY;
  const { atMs, absences } = answers.get(object.name) as PresenceAnswer;
  return atMs + Math.min(minSpacingMs, firstRecheckMs * 2 ** (absences - 1));
}

/** `uids`: UIDs of the existing Nodes by name; the object is the one at the time of the request. */
export function toPresenceAnswer(
  { name, uid, nodeUid }: RecordObject,
  uids: ReadonlyMap<string, string>,
  before: PresenceAnswer | undefined,
  nowMs: number,
): PresenceAnswer {
  const found = uids.get(name);
  const isOther = nodeUid !== "" && found !== nodeUid;
  const presence = found === undefined ? "absent" : isOther ? "replaced" : "present";
  const absences = presence === "present" ? 0 : (before?.absences ?? 0) + 1;
  return { uid, nodeUid, presence, atMs: nowMs, absences };
}

/** Returns the time from one list of all Nodes to the next. `random`: from 0 to 1. */
export function listSpacingMs(nodes: number, random: number): number {
  return Math.max(minSpacingMs, 1000 * nodes) * (1 + random / 2);
}

/** Returns a sentence that says why a record does not count; undefined if it counts. */
export function explainPresence(name: string, presence: Presence | undefined): string | undefined {
  if (presence === "absent")
    return `there is no Node ${name} in the cluster, and a record counts only while its Node is there`;
  if (presence === "replaced")
    return `it is owned by an earlier Node ${name}: the agent of ${name} writes it with the present one as its owner`;
  return undefined;
}
