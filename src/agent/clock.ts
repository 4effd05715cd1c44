// The agent's two clocks: it decides by the monotonic one; the kernel's handshake times and the ages
// of keys are times of the wall clock.
import type { Clocks } from "../plan/peers/observation.ts";
import type { Log } from "../telemetry/log.ts";

/** A wall clock is slewed by less than this between two passes. */
const stepMs = 10_000;

export class AgentClock {
  #offsetMs: number | undefined;

  /** `wallClock`: Unix milliseconds. */
  constructor(
    private readonly log: Log,
    private readonly wallClock: () => number,
  ) {}

  /** Reads both clocks, and logs one line if the wall clock was set. */
  read(): Clocks {
    const clocks = { nowMs: performance.now(), wallMs: this.wallClock() };
    const offsetMs = clocks.wallMs - clocks.nowMs;
    const steppedMs = offsetMs - (this.#offsetMs ?? offsetMs);
    this.#offsetMs = offsetMs;
    if (Math.abs(steppedMs) > stepMs)
      this.log.warn("wall clock stepped; the age of handshakes is measured on the monotonic clock", {
        seconds: Math.round(steppedMs / 1000),
      });
    return clocks;
  }
}
