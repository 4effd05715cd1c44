// The agent's two clocks: one that only goes forward, by which it decides, and
// the wall clock, which the kernel's handshake times and our keys' ages are of.
import type { Clocks } from "../plan/peers/observation.ts";
import type { Log } from "../telemetry/log.ts";

/** Wall clocks are slewed by less than this between two looks. */
const stepMs = 10_000;

export class AgentClock {
  #offsetMs: number | undefined;

  /** `wallClock`: Unix milliseconds. */
  constructor(
    private readonly log: Log,
    private readonly wallClock: () => number,
  ) {}

  /** Logs one line when somebody has set the wall clock. */
  read(): Clocks {
    const clocks = { nowMs: performance.now(), wallMs: this.wallClock() };
    const offsetMs = clocks.wallMs - clocks.nowMs;
    const steppedMs = offsetMs - (this.#offsetMs ?? offsetMs);
    this.#offsetMs = offsetMs;
    if (Math.abs(steppedMs) > stepMs)
      this.log.warn("the clock was stepped; handshakes are counted on a clock of our own", {
        seconds: Math.round(steppedMs / 1000),
      });
    return clocks;
  }
}
