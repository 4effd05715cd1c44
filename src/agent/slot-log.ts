// Reports the slots of this node that cannot be used, and after the start which of our names and numbers
// other software uses. Keeps the time between two attempts to create a device.
import { findPortHolder } from "../doctor/port-holder.ts";
import { Spacing } from "../net/spacing.ts";
import { slotPort } from "../plan/settings/settings.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";
import type { KeyRecovery } from "../reconcile/recover-keys.ts";
import { areAllFaulty } from "../reconcile/slots.ts";
import type { Log } from "../telemetry/log.ts";
import { type Problem, ProblemLog } from "../telemetry/problem-log.ts";

/** Creating a device and removing it are kernel events, which would trigger the next pass. */
const betweenAttemptsMs = 5000;

export class SlotLog {
  #isFirst = true;
  readonly #attempts = new Spacing(betweenAttemptsMs);
  readonly #problems: ProblemLog;

  constructor(private readonly log: Log) {
    this.#problems = new ProblemLog(log);
  }

  /** True if slots that failed may be tried again; `nowMs` is monotonic. */
  mayRetry(nowMs: number): boolean {
    return this.#attempts.take(nowMs) === 0;
  }

  #reportRecovery({ resealed, replaced, path }: KeyRecovery): void {
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

  report({ up, faults, settings, conflicts, recovery, appliedToThisKernel }: SyncReport): void {
    if (recovery !== undefined) this.#reportRecovery(recovery);
    if (this.#isFirst)
      for (const { text } of conflicts) this.log.warn(`conflict with other software: ${text}`);
    this.#isFirst = false;
    const message = describeLostSlots(faults, appliedToThisKernel);
    const withdrawn = Array.from(up ? faults : [], ([slot, { kind, reason }]): [string, Problem] => [
      slot,
      {
        ...{ message, fields: { slot, reason } },
        details: () => ({
          holder: kind === "conflict" ? findPortHolder(slotPort(settings, slot)) : undefined,
        }),
        name: "slot withdrawn",
      },
    ]);
    this.#problems.reportAllOnChange("slots", new Map(withdrawn));
  }
}

/** `isRunning`: a node that has the mesh in this kernel does not tell its peers that it has lost both slots. */
function describeLostSlots(faults: SyncReport["faults"], isRunning: boolean): string {
  if (!areAllFaulty(faults)) return "slot withdrawn: peers are told to use the other one";
  return isRunning
    ? "slot lost, and there is no other one: packets to peers that were in the tunnel are refused"
    : "slot withdrawn, and there is no other one: peers are told so";
}
