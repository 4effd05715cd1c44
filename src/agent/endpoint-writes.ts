// Remembers when this agent itself has set a peer's endpoint. A handshake proves where a peer is only if
// the endpoint that is read afterwards was learned from it: a handshake just before the agent set the
// endpoint from the peer's record would seem to come from that endpoint.
import type { SyncReport } from "../reconcile/mesh-plan.ts";

/** Far more keys than peers have. Beyond this all are forgotten, and only newer handshakes count. */
const maxKeys = 65_536;

export class EndpointWrites {
  /** When the endpoint was set, by public key, in Unix milliseconds; a peer that was created with its endpoint had no handshake before. */
  readonly #setAtMs = new Map<string, number>();
  #sinceMs: number;

  /** `wallClock`: Unix milliseconds, as the kernel's handshake times are. */
  constructor(private readonly wallClock: () => number) {
    this.#sinceMs = wallClock();
  }

  /** Call it after a sync. */
  observe({ steps, observed }: Pick<SyncReport, "steps" | "observed">): void {
    const nowMs = this.wallClock();
    if (this.#setAtMs.size > maxKeys) {
      this.#setAtMs.clear();
      this.#sinceMs = nowMs;
    }
    for (const step of steps) {
      if (step.do !== "configureDevice") continue;
      const seen = observed.devices.get(step.dev)?.peers;
      for (const { publicKey, endpoint } of step.config.peers ?? [])
        if (endpoint !== undefined)
          this.#setAtMs.set(publicKey, seen?.has(publicKey) === true ? nowMs : Number.NEGATIVE_INFINITY);
    }
  }

  /** True if the endpoint was or may have been set at or after the handshake, which then proves nothing. */
  isAfter(publicKey: string, handshakeMs: number): boolean {
    return handshakeMs <= (this.#setAtMs.get(publicKey) ?? this.#sinceMs);
  }
}
