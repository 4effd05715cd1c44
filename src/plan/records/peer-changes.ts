// Plans how the store's peers follow the records that a source shows, whatever the source is. Pure: time
// is an argument.
//
//   entry of a node                       its peer
//   ────────────────────────────────────  ───────────────────────────────────────────────────────────
//   valid                                 is as the record says
//   valid, but changed by another writer  stays as it was for 10 s, then is as the record says
//   rejected, or pending                  stays as it was
//   gone, or no entry                     leaves when the absence is believed (plan/absence.ts)
import { compareText } from "../../net/human-format.ts";
import type { NodeRecord, PeerSource } from "../../net/record.ts";
import { type Absences, planAbsences } from "../absence.ts";

/** The state of one node in a source. */
export type RecordEntry = ValidEntry | RejectedEntry | { readonly state: "pending" };

export interface ValidEntry {
  readonly state: "valid";
  readonly record: NodeRecord;
  /** The times at which the record was made and last written, as texts that sort; "" if the source does not know. */
  readonly createdAt: string;
  readonly writtenAt: string;
  /** True if another writer than the node's agent changed it last. */
  readonly isEditedExternally: boolean;
}

export interface RejectedEntry {
  /** "rejected": the record is malformed. "gone": the source knows that the node has left. */
  readonly state: "rejected" | "gone";
  /** The name of the file or object, for display. */
  readonly file: string;
  readonly reason: string;
}

/** The rule by which a source is believed that records are gone. */
export interface AbsenceRule {
  /** The delay of an absence. */
  readonly waitMs: number;
  /** The delay if the source is doubted; Infinity: as long as that lasts. */
  readonly doubtedWaitMs: number;
  /** True if a fault of the source is more likely than the loss of the nodes. */
  readonly isDoubtful: (facts: AbsenceFacts) => boolean;
  /** Describes the doubt about `gone` of `known` peers. */
  readonly explain: (gone: number, known: number) => string;
}

export interface AbsenceFacts {
  /** Number of peers of the source, and of those without a record. */
  readonly known: number;
  readonly gone: number;
  /** True if the source has a valid record. */
  readonly hasRecords: boolean;
  /** True if the source was doubted in the last plan. */
  readonly wasDoubtful: boolean;
}

/** The memory from one plan to the next. */
export interface PlanMemory {
  readonly absences: Absences;
  /** The time since which a record that another writer changed waits, by name, in milliseconds. */
  readonly editedSinceMs: ReadonlyMap<string, number>;
  readonly isDoubtful: boolean;
}

export const emptyMemory: PlanMemory = { absences: new Map(), editedSinceMs: new Map(), isDoubtful: false };

export interface PeerFacts {
  readonly source: PeerSource;
  /** The entries by the node's name, without this node. */
  readonly entries: ReadonlyMap<string, RecordEntry>;
  /** Names whose entries have changed since the last plan. */
  readonly changed: Iterable<string>;
  /** The source of each peer of the store. */
  readonly sources: ReadonlyMap<string, PeerSource>;
  /** False if an absent entry proves nothing, because changes do not arrive. */
  readonly isCurrent: boolean;
  readonly rule: AbsenceRule;
  readonly memory: PlanMemory;
  /** Milliseconds of a monotonic clock. */
  readonly nowMs: number;
}

export interface PeerChanges {
  /** In the order in which the store takes them: of two that claim the same, the first one is the owner. */
  readonly put: readonly NodeRecord[];
  readonly remove: readonly string[];
  readonly memory: PlanMemory;
  /** Time until the next plan, if nothing changes before. */
  readonly wakeInMs?: number;
  /** A sentence, present if the source is doubted. */
  readonly doubt?: string;
}

/** A source takes over the peers of those before it. */
const precedence: readonly PeerSource[] = ["import", "directory", "kube"];

/** An agent restores its own record within a second, and one that restarts is back by then. */
export const editWaitMs = 10_000;

export function planPeerChanges(facts: PeerFacts): PeerChanges {
  const { put, editedSinceMs } = planPut(facts);
  const { remove, absences, doubt, wakeInMs } = planRemovals(facts);
  const isDoubtful = facts.isCurrent ? doubt !== undefined : facts.memory.isDoubtful;
  const wakesInMs = [
    ...(wakeInMs === undefined ? [] : [wakeInMs]),
    ...Array.from(editedSinceMs.values(), (sinceMs) => sinceMs + editWaitMs - facts.nowMs),
  ];
  return {
    ...{ put, remove, memory: { absences, editedSinceMs, isDoubtful } },
    ...(wakesInMs.length === 0 ? {} : { wakeInMs: Math.min(...wakesInMs) }),
    ...(doubt === undefined ? {} : { doubt }),
  };
}

/**
 * A record that another writer changed waits, because its agent restores it, and a node that obeyed
 * meanwhile would drop packets. Only a peer has an earlier record to keep.
 */
function planPut({ source, entries, changed, sources, memory, nowMs }: PeerFacts) {
  const isKnown = ({ record }: ValidEntry) => sources.get(record.name) === source;
  const editedSinceMs = new Map<string, number>();
  const put: ValidEntry[] = [];
  for (const name of new Set([...changed, ...memory.editedSinceMs.keys()])) {
    const entry = entries.get(name);
    if (entry?.state !== "valid" || isOutranked(source, sources.get(name))) continue;
    const sinceMs = memory.editedSinceMs.get(name) ?? nowMs;
    const isWaiting = entry.isEditedExternally && isKnown(entry) && nowMs - sinceMs < editWaitMs;
    if (isWaiting) editedSinceMs.set(name, sinceMs);
    else put.push(entry);
  }
  return { put: inOrder(put, isKnown), editedSinceMs };
}

function isOutranked(source: PeerSource, owner: PeerSource | undefined): boolean {
  return owner !== undefined && precedence.indexOf(owner) > precedence.indexOf(source);
}

/**
 * Known peers come first, in the order in which they were written. New ones follow in the order in which
 * they were made, so that a node that joins decides as those that saw the records being made.
 */
function inOrder(entries: readonly ValidEntry[], isKnown: (entry: ValidEntry) => boolean): NodeRecord[] {
  const by = (key: "createdAt" | "writtenAt") => (a: ValidEntry, b: ValidEntry) =>
    compareText(a[key], b[key]) || compareText(a.record.name, b.record.name);
  const [known, others] = [entries.filter(isKnown), entries.filter((entry) => !isKnown(entry))];
  return [...known.sort(by("writtenAt")), ...others.sort(by("createdAt"))].map(({ record }) => record);
}

function planRemovals({ source, entries, sources, isCurrent, rule, memory, nowMs }: PeerFacts) {
  const known = [...sources.keys()].filter((name) => sources.get(name) === source);
  const isGone = (name: string) => (entries.get(name)?.state ?? "gone") === "gone";
  const gone = isCurrent ? known.filter(isGone) : [];
  const isDoubtful = gone.length > 0 && isSourceDoubtful(rule, gone.length, known.length, entries, memory);
  const missing = new Map(
    gone.map((name) => [name, waitOf(rule, isDoubtful, memory.absences.get(name)?.waitMs)]),
  );
  const { believed: remove, absences, ...wake } = planAbsences(missing, memory.absences, nowMs);
  const staying = gone.length - remove.length;
  const doubt = isDoubtful && staying > 0 ? rule.explain(staying, known.length) : undefined;
  return { remove, absences, doubt, wakeInMs: wake.wakeInMs };
}

function isSourceDoubtful(
  rule: AbsenceRule,
  gone: number,
  known: number,
  entries: ReadonlyMap<string, RecordEntry>,
  { isDoubtful: wasDoubtful }: PlanMemory,
): boolean {
  const hasRecords = entries.values().some(({ state }) => state === "valid");
  return rule.isDoubtful({ gone, known, hasRecords, wasDoubtful });
}

/** Of many records that were gone at once, those that have not come back keep the longer delay, if it ends. */
function waitOf(rule: AbsenceRule, isDoubtful: boolean, beforeMs: number | undefined): number {
  if (isDoubtful) return rule.doubtedWaitMs;
  return beforeMs !== undefined && Number.isFinite(beforeMs) ? beforeMs : rule.waitMs;
}

/** A rejected record or another problem, as `peer list` and `status` show it. */
export interface RejectedFile {
  readonly file: string;
  readonly reason: string;
}

/** Lists the records that are not taken, by file. */
export function listRejected(
  source: PeerSource,
  entries: ReadonlyMap<string, RecordEntry>,
  sources: ReadonlyMap<string, PeerSource>,
): RejectedFile[] {
  const rejected = [...entries].flatMap(([name, entry]) => {
    if (entry.state !== "rejected" && entry.state !== "gone") return [];
    const { state, file, reason } = entry;
    const stays = state === "rejected" && sources.get(name) === source;
    return [{ file, reason: stays ? `${reason}; the record taken before stays` : reason }];
  });
  return rejected.sort((a, b) => compareText(a.file, b.file));
}
