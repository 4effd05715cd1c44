// Says when a slot of this node cannot be used any more and when it can again, and
// after a boot what others use of ours: once, and not while it lasts. Keeps the time
// between two tries to make a device that could not be made.
import { findPortHolder } from "../doctor/port-holder.ts";
import type { Slot } from "../net/record.ts";
import { slotPort } from "../plan/settings/settings.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import type { KeyRecovery } from "../reconcile/recover-keys.ts";
import type { Log } from "../telemetry/log.ts";

/** Making a device and removing it are events of the kernel's, which call for the next pass. */
const betweenTriesMs = 5000;

export class SlotLog {
  /** The reasons, as logged last. */
  readonly #reasons = new Map<Slot, string>();
  #isFirst = true;
  #triedMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly log: Log) {}

  /** True where slots that failed may be tried again; `nowMs` only goes forward. */
  takeTurn(nowMs: number): boolean {
    if (nowMs - this.#triedMs < betweenTriesMs) return false;
    this.#triedMs = nowMs;
    return true;
  }

  #tellRecovery({ resealed, replaced, path }: KeyRecovery): void {
    const keys = { sealKey: path, resealed: resealed.join(), replaced: replaced.join() };
    if (replaced.length === 0)
      this.log.warn(
        "seal key absent: the private keys of the kernel's devices are sealed under a new one",
        keys,
      );
    else
      this.log.warn(
        "seal key absent and private keys lost: this node has new keys, which are published",
        keys,
      );
  }

  note({ up, faults, settings, conflicts, recovery }: SyncReport): void {
    if (recovery !== undefined) this.#tellRecovery(recovery);
    if (this.#isFirst) for (const { text } of conflicts) this.log.warn(`others use what is ours: ${text}`);
    this.#isFirst = false;
    for (const [slot, { kind, reason }] of up ? faults : []) {
      if (this.#reasons.get(slot) === reason) continue;
      this.#reasons.set(slot, reason);
      const holder = kind === "conflict" ? findPortHolder(slotPort(settings, slot)) : undefined;
      this.log.warn("slot withdrawn: peers are told to use the other one", {
        ...{ slot, reason },
        ...(holder === undefined ? {} : { holder }),
      });
    }
    for (const slot of this.#reasons.keys()) {
      if (up && faults.has(slot)) continue;
      this.#reasons.delete(slot);
      this.log.info("slot usable again: peers are told", { slot });
    }
  }
}
