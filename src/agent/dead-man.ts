// Runs the dead-man switch: asks the control plane while plan/host/dead-man.ts needs an answer, keeps
// its decisions in the store, and logs one line for each. The agent programs a decision right after.
import { formatExemption } from "../net/exemption.ts";
import { formatIpPort } from "../net/ip-port.ts";
import {
  type DeadManDecision,
  type DeadManEvent,
  type DeadManMemory,
  type Extent,
  stepDeadMan,
} from "../plan/host/dead-man.ts";
import { exemptionsOf } from "../plan/host/host-encryption.ts";
import type { Clocks } from "../plan/peers/observation.ts";
import { showDuration } from "../plan/settings/parsers.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { HostRevert } from "../state/model.ts";
import type { Store } from "../state/store.ts";
import type { Level, Log } from "../telemetry/log.ts";
import { ControlPlane } from "./control-plane.ts";

/** The part of the last sync's result that the switch judges. */
export interface AppliedExtent {
  readonly settings: Settings;
  readonly tunneledHosts: ReadonlySet<string>;
}

export interface DeadManResult {
  /** True if the store was changed: program it. */
  readonly changed: boolean;
  readonly wakeInMs?: number;
}

export class DeadMan implements Disposable {
  readonly #controlPlane: ControlPlane;
  #memory: DeadManMemory | undefined;
  /** The last input and the extent computed from it: thousands of addresses are compared only after a new sync. */
  #programmed: AppliedExtent | undefined;
  #extent: Extent | undefined;
  /** The level of the lines about the current trial; it is low if the trial only adds a peer. */
  #level: Level = "info";

  /** `onAnswer`: the control plane has answered, so a pass is due. */
  constructor(
    private readonly store: Store,
    private readonly log: Log,
    onAnswer: () => void,
  ) {
    this.#controlPlane = new ControlPlane(onAnswer);
  }

  /** Call it after a sync and in every pass. Throws what the store throws; the next pass tries again. */
  reconcile(programmed: AppliedExtent, { nowMs, wallMs }: Clocks): DeadManResult {
    const { settings } = programmed;
    const revert = this.store.hostRevert();
    const { answeredAtMs } = this.#controlPlane;
    const facts = {
      extent: this.#extentOf(programmed),
      timeoutMs: settings.deadManTimeout * 1000,
      revert: revert === undefined ? "none" : revert.untilAnswer ? "until-answer" : "final",
      ...(answeredAtMs === undefined ? {} : { answeredAtMs }),
    } as const;
    const decision = stepDeadMan(facts, this.#memory, nowMs);
    const { event } = decision;
    if (event === "began") this.#level = onlyAddsPeers(this.#memory?.extent, facts.extent) ? "debug" : "info";
    const changed = event !== undefined && this.#store(event, settings, revert, wallMs);
    this.#memory = decision.memory;
    this.#ask(settings, decision);
    if (event !== undefined) this.#report(event, settings);
    return { changed, ...(decision.dueMs === undefined ? {} : { wakeInMs: decision.dueMs - nowMs }) };
  }

  [Symbol.dispose](): void {
    this.#controlPlane[Symbol.dispose]();
  }

  #extentOf(programmed: AppliedExtent): Extent {
    if (this.#extent !== undefined && this.#programmed === programmed) return this.#extent;
    const { settings, tunneledHosts } = programmed;
    this.#programmed = programmed;
    this.#extent = {
      hosts: tunneledHosts,
      outside: exemptionsOf(settings).map(formatExemption),
      controlPlane: settings.controlPlane.map(formatIpPort),
    };
    return this.#extent;
  }

  #ask({ controlPlane }: Settings, { askEveryMs }: DeadManDecision): void {
    const question = askEveryMs === undefined ? undefined : { addresses: controlPlane, everyMs: askEveryMs };
    this.#controlPlane.ask(question);
  }

  #store(event: DeadManEvent, settings: Settings, revert: HostRevert | undefined, wallMs: number): boolean {
    switch (event) {
      case "reverted":
        this.store.putHostRevert({ atMs: wallMs, reason: this.#reason(settings) });
        return true;
      case "waiting":
        if (revert !== undefined) this.store.putHostRevert({ ...revert, untilAnswer: true });
        return true;
      case "retried":
        this.store.putHostRevert(undefined);
        return true;
      default:
        return false;
    }
  }

  #reason({ deadManTimeout, controlPlane }: Settings): string {
    const tries = controlPlane.map(
      (address) => `${formatIpPort(address)} (${this.#controlPlane.failureOf(address) ?? "no answer"})`,
    );
    return `no address of the control plane answered within ${showDuration(deadManTimeout)} of its beginning: ${tries.join(", ")}`;
  }

  #report(event: DeadManEvent, settings: Settings): void {
    const { log } = this;
    const within = showDuration(settings.deadManTimeout);
    switch (event) {
      case "began":
        log[this.#level]("host encryption on trial: it stays if the control plane answers", { within });
        return;
      case "answered":
        log[this.#level]("control plane answers: host encryption stays");
        return;
      case "ended":
        log.info("host encryption ended: nodes reach each other in plaintext");
        return;
      case "reverted":
        log.error("host encryption reverted: nodes reach each other in plaintext again", {
          reason: this.#reason(settings),
        });
        return;
      case "caused":
        log.warn(
          "control plane answers without host encryption: it stays off until `wg-cni up --host-encryption on`",
        );
        return;
      case "waiting":
        log.warn(
          "control plane does not answer without host encryption either: host encryption returns once it answers",
        );
        return;
      case "retried":
        log.info("control plane answers: host encryption is tried once more");
        return;
    }
  }
}

function onlyAddsPeers(before: Extent | undefined, now: Extent): boolean {
  if (before === undefined || before.hosts.size === 0) return false;
  return before.controlPlane.join() === now.controlPlane.join();
}
