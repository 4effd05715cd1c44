// Finds orphaned pods: attachments whose pod is gone without a DEL. The runtime was killed before it, its
// state was wiped, or the network no longer names us. A pod is gone if the path of its network namespace
// leads to no namespace any more, in every pass over some time. This process may see only a part of the
// mounts, so that needs a witness: another namespace that it does see. Pure: time is an argument.
//
//   the path is       witness in the same directory       released after
//   ────────────────  ──────────────────────────────────  ──────────────
//   a namespace       —                                   never
//   not visible       —                                   never
//   absent            another pod's namespace             1 wait
//   absent            none: all of them are gone          12 waits
//   a plain file      a namespace that was made later     1 wait
//   a plain file      none: its mount may be hidden       never
//
// The wait begins again if the same is attached again, and if an agent starts.
import { countOf } from "../../net/human-format.ts";
import { type Absences, planAbsences } from "../absence.ts";
import { showDuration } from "../settings/parsers.ts";

/** "unknown" if the directory is not visible to this process, or may not be read. */
export type NetnsObservation = "namespace" | "absent" | "file" | "unknown";

export interface SeenAttachment {
  /** A key of this attachment alone: it is another one if the container was attached again. */
  readonly key: string;
  /** The directory of the path. */
  readonly directory: string;
  /** Unix milliseconds. */
  readonly createdAtMs: number;
  readonly netns: NetnsObservation;
}

export interface OrphanedFacts {
  readonly seen: readonly SeenAttachment[];
  /** The absences by key, from the last plan. */
  readonly absences: Absences;
  readonly waitMs: number;
  /** Milliseconds of a clock that only goes forward. */
  readonly nowMs: number;
}

export interface OrphanedPlan {
  /** Keys of the orphaned attachments. */
  readonly release: readonly string[];
  readonly absences: Absences;
  /** A sentence, present if so many are gone that it is not believed yet. */
  readonly doubt?: string;
}

const manyWaits = 12;

export function planOrphaned({ seen, absences: before, waitMs, nowMs }: OrphanedFacts): OrphanedPlan {
  const missing = new Map(
    seen.flatMap((one) => {
      const waits = countWaits(one, seen);
      return waits === undefined ? [] : [[one.key, waits * waitMs] as const];
    }),
  );
  const { believed: release, absences } = planAbsences(missing, before, nowMs);
  const isDoubted = ({ key }: SeenAttachment) => {
    const sinceMs = absences.get(key)?.sinceMs ?? nowMs;
    return nowMs - sinceMs >= waitMs && !release.includes(key);
  };
  const doubted = seen.filter(isDoubted);
  return { release, absences, ...(doubted.length === 0 ? {} : { doubt: explainDoubt(doubted, waitMs) }) };
}

/** Returns undefined if the pod is not known to be gone. */
function countWaits(one: SeenAttachment, seen: readonly SeenAttachment[]): number | undefined {
  if (one.netns !== "absent" && one.netns !== "file") return undefined;
  const witnesses = seen.filter(
    ({ directory, netns }) => directory === one.directory && netns === "namespace",
  );
  if (one.netns === "absent") return witnesses.length > 0 ? 1 : manyWaits;
  // A mount that was made later is visible here, so this one would be visible, too.
  return witnesses.some(({ createdAtMs }) => createdAtMs > one.createdAtMs) ? 1 : undefined;
}

function explainDoubt(doubted: readonly SeenAttachment[], waitMs: number): string {
  const directories = [...new Set(doubted.map(({ directory }) => directory))].sort().join(", ");
  const wait = showDuration(Math.round((manyWaits * waitMs) / 1000));
  return `The network namespaces of all pods in ${directories} are gone, and no DEL came for ${countOf(doubted.length, "attachment")}: was the runtime's state wiped, or is the directory not the node's here? They are kept until nothing has come back for ${wait}.`;
}
