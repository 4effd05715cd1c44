// Logs syncs that changed the kernel. A repair of damage that another process did is a warning; if it does the
// same again and again, that is one line when it begins and one when it ends, not one a repair.
import type { Log } from "../telemetry/log.ts";

/** Repairs that begin with the same command belong together if they are no further apart. */
const repeatMs = 60_000;

export interface Change {
  /** The triggers of the pass. */
  readonly reason: string;
  readonly writes: number;
  /** The first command, by which a reader of the log recognises the sync. */
  readonly first: string;
}

interface RepeatedRepair {
  lastMs: number;
  repairs: number;
}

export class RepairLog {
  readonly #recent = new Map<string, RepeatedRepair>();

  constructor(private readonly log: Log) {}

  /** The store had changed, or the agent had decided something. */
  changed(change: Change): void {
    this.log.info("mesh changed", { ...change });
  }

  /** Neither had: another process has changed the mesh. */
  restored(change: Change, nowMs: number): void {
    const { reason, writes, first } = change;
    const known = this.#recent.get(first);
    if (known === undefined) {
      this.#recent.set(first, { lastMs: nowMs, repairs: 1 });
      this.log.warn("mesh changed by another process, restored", { reason, writes, first });
      return;
    }
    known.lastMs = nowMs;
    known.repairs++;
    if (known.repairs === 2)
      this.log.warn("repairs of the mesh do not last: another process changes it again", { first });
  }

  /** Forgets the repairs that were not repeated for a while; call it in every pass. */
  settle(nowMs: number): void {
    for (const [first, { lastMs, repairs }] of this.#recent) {
      if (nowMs - lastMs < repeatMs) continue;
      this.#recent.delete(first);
      if (repairs > 1) this.log.info("resolved: repairs of the mesh do not last", { first, repairs });
    }
  }
}
