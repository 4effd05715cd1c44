// Whether the Node that a record speaks for is there. The garbage collector takes a
// record away with its Node, but a token of the Node's pods stays good for a while and
// writes the record anew, and no admission policy can find out that there is no Node.
// So every agent asks: a record counts while there is a Node of its name, with the UID
// that the record's owner has. Absence is proven by the API's answer and by nothing
// else; until there is one, what was taken before stays. Pure: time is an argument.
//
//   object                             asked
//   ─────────────────────────────────  ─────────────────────────────────────────────
//   any                                with all Nodes, once a minute; every N s of N
//   new, made anew, or another owner   at once
//   without its Node                   again after 3 s, 6 s, 12 s, …
//
// All agents together list the Nodes once a second at most. A watch of all Nodes would
// send each heartbeat of each Node to each node.
import type { RecordObject } from "./object.ts";

/** "replaced": there is a Node of that name, and it is another one than the record's owner. */
export type Presence = "present" | "absent" | "replaced";

/** What the API has answered about an object's Node. */
export interface PresenceAnswer {
  /** The object's own UID and its owner's, when it was asked: the answer is about no other. */
  readonly uid: string;
  readonly nodeUid: string;
  readonly presence: Presence;
  readonly atMs: number;
  /** Answers in a row by which its Node was not there. */
  readonly absences: number;
}

/** By the object's name. */
export type PresenceAnswers = ReadonlyMap<string, PresenceAnswer>;

export interface CensusFacts {
  readonly objects: ReadonlyMap<string, RecordObject>;
  /** Its own Node is watched. */
  readonly ownName: string | undefined;
  readonly answers: PresenceAnswers;
  /** When all Nodes are to be listed; undefined if they never were. */
  readonly nextListMs: number | undefined;
  /** Milliseconds of a clock that only goes forward. */
  readonly nowMs: number;
}

/** Whom to ask about now, or when there may be something to ask. */
export type CensusPlan =
  | { readonly ask: "all" }
  | { readonly ask: readonly string[] }
  | { readonly wakeInMs: number };

/** More are asked for by one list. */
const maxSingles = 8;
const firstRecheckMs = 3000;
const minSpacingMs = 60_000;

/** Undefined until the API has answered about this very object and owner. */
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

/** `uids`: of the Nodes that there are, by name; `object`: as it was when they were asked for. */
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

/** From one list of all Nodes to the next. `random`: from 0 to 1. */
export function listSpacingMs(nodes: number, random: number): number {
  return Math.max(minSpacingMs, 1000 * nodes) * (1 + random / 2);
}

/** Why a record does not count, as a sentence; undefined while nothing speaks against it. */
export function explainPresence(name: string, presence: Presence | undefined): string | undefined {
  if (presence === "absent")
    return `there is no Node ${name} in the cluster, and a record counts only while its Node is there`;
  if (presence === "replaced")
    return `it is owned by an earlier Node ${name}: the agent of ${name} writes it with the present one as its owner`;
  return undefined;
}
