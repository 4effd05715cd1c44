// Remembers when this agent itself has set a peer's endpoint, and to what. A handshake proves where a peer is only
// if the endpoint that is read afterwards was learned from it: a handshake just before the agent set the
// endpoint from the peer's record would seem to come from that endpoint.
import { type Endpoint, isSameEndpoint } from "../net/device.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";

/** Far more keys than peers have. Beyond this all are forgotten, and only newer handshakes count. */
const maxKeys = 65_536;

interface EndpointWrite {
  /** Unix milliseconds; a peer that was created with its endpoint had no handshake before. */
  readonly atMs: number;
  readonly endpoint: Endpoint;
}

export class EndpointWrites {
  /** The last write by public key. */
  readonly #writes = new Map<string, EndpointWrite>();
  #sinceMs: number;

  /** `wallClock`: Unix milliseconds, as the kernel's handshake times are. */
  constructor(private readonly wallClock: () => number) {
    this.#sinceMs = wallClock();
  }

  /** Call it after a sync. */
  observe({ steps, observed }: Pick<SyncReport, "steps" | "observed">): void {
    const nowMs = this.wallClock();
    if (this.#writes.size > maxKeys) {
      this.#writes.clear();
      this.#sinceMs = nowMs;
    }
    for (const step of steps) {
      if (step.do !== "configureDevice") continue;
      const seen = observed.devices.get(step.dev)?.peers;
      for (const { publicKey, endpoint } of step.config.peers ?? []) {
        if (endpoint === undefined) continue;
        const atMs = seen?.has(publicKey) === true ? nowMs : Number.NEGATIVE_INFINITY;
        this.#writes.set(publicKey, { atMs, endpoint });
      }
    }
  }

  /** True if the endpoint was or may have been set at or after the handshake, which then proves nothing. */
  isAfter(publicKey: string, handshakeMs: number): boolean {
    return handshakeMs <= (this.#writes.get(publicKey)?.atMs ?? this.#sinceMs);
  }

  /** True if this agent's last write of the peer's endpoint was this one. */
  hasSet(publicKey: string, endpoint: Endpoint): boolean {
    return isSameEndpoint(this.#writes.get(publicKey)?.endpoint, endpoint);
  }
}
