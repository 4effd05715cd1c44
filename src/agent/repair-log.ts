// Logs syncs that changed the kernel. A repair of damage that another process did is a warning. If that process
// does the same again and again, a line says so after the second repair, then ever more rarely, and at the end.
import { pauseAfter } from "../net/backoff.ts";
import type { Log } from "../telemetry/log.ts";

/** Repairs of one kind belong together if they are no further apart. */
const repeatMs = 60_000;
/** The pauses between the lines about repairs that do not last. */
const pauses = { firstMs: 300_000, longestMs: 3_600_000 };

export interface Change {
  /** The triggers of the pass. */
  readonly reason: string;
  readonly writes: number;
  /** The first command, by which a reader of the log recognises the sync. */
  readonly first: string;
}

interface RepeatedRepair {
  /** The first command of the first repair. */
  readonly first: string;
  lastMs: number;
  repairs: number;
  /** The lines about repairs that do not last. */
  lines: number;
  lineAtMs: number;
}

export class RepairLog {
  /** By the kind of the repair. */
  readonly #recent = new Map<string, RepeatedRepair>();

  constructor(private readonly log: Log) {}

  /** The store had changed, or the agent had decided something. */
  changed(change: Change): void {
    this.log.info("mesh changed", { ...change });
  }

  /** Neither had: another process has changed the mesh. */
  restored(change: Change, nowMs: number): void {
    const { reason, writes, first } = change;
    const kind = kindOf(first);
    const known = this.#recent.get(kind);
    if (known === undefined) {
      this.#recent.set(kind, { first, lastMs: nowMs, repairs: 1, lines: 0, lineAtMs: nowMs });
      this.log.warn("mesh changed by another process, restored", { reason, writes, first });
      return;
    }
    known.lastMs = nowMs;
    known.repairs++;
    if (nowMs - known.lineAtMs < pauseAfter(known.lines, pauses)) return;
    known.lines++;
    known.lineAtMs = nowMs;
    const { repairs } = known;
    this.log.warn("repairs of the mesh do not last: another process changes it again", { first, repairs });
  }

  /** Forgets the repairs that were not repeated for a while; call it in every pass. */
  settle(nowMs: number): void {
    for (const [kind, { first, lastMs, repairs }] of this.#recent) {
      if (nowMs - lastMs < repeatMs) continue;
      this.#recent.delete(kind);
      if (repairs > 1) this.log.info("resolved: repairs of the mesh do not last", { first, repairs });
    }
  }
}

/** A program that adds another peer or route each time damages the same: keys and addresses are left out. */
function kindOf(command: string): string {
  return command.replace(/[\w+/]{43}=/g, "KEY").replace(/[\da-f]*[.:][\da-f.:]+(\/\d+)?/g, "ADDRESS");
}
