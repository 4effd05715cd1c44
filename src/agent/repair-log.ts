// Logs syncs that changed the kernel. A repair of damage that another process did is a warning; if it does the
// same again and again, that is one line when it begins and one when it ends, not one a repair.
import type { Log } from "../telemetry/log.ts";

/** Two repairs that begin with the same command within this time are of one struggle. */
const struggleMs = 60_000;

export interface Change {
  /** The triggers of the pass. */
  readonly reason: string;
  readonly writes: number;
  /** The first command, by which a reader of the log recognises the sync. */
  readonly first: string;
}

interface Struggle {
  lastMs: number;
  repairs: number;
}

export class RepairLog {
  readonly #struggles = new Map<string, Struggle>();

  constructor(private readonly log: Log) {}

  /** The store had changed, or the agent had decided something. */
  changed(change: Change): void {
    this.log.info("mesh changed", { ...change });
  }

  /** Neither had: another process has changed the mesh. */
  restored(change: Change, nowMs: number): void {
    const { reason, writes, first } = change;
    const known = this.#struggles.get(first);
    if (known === undefined) {
      this.#struggles.set(first, { lastMs: nowMs, repairs: 1 });
      this.log.warn("mesh changed by another process, restored", { reason, writes, first });
      return;
    }
    known.lastMs = nowMs;
    known.repairs++;
    if (known.repairs === 2)
      this.log.warn("repairs of the mesh do not last: another process changes it again", { first });
  }

  /** Called in every pass: struggles that have ended are forgotten. */
  settle(nowMs: number): void {
    for (const [first, { lastMs, repairs }] of this.#struggles) {
      if (nowMs - lastMs < struggleMs) continue;
      this.#struggles.delete(first);
      if (repairs > 1) this.log.info("resolved: repairs of the mesh do not last", { first, repairs });
    }
  }
}
