// Keeps what the kernel counts outside the tunnel, and logs leaks: packets that should have been in the
// tunnel. A peer that has just been given its tunnel may need a while to send into it, which is no leak.

import type { Direction } from "../plan/firewall/sets.ts";
import { intentFor } from "../plan/report/peer-status.ts";
import type { PlaintextNews } from "../plan/report/plaintext-evidence.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Session } from "../reconcile/session.ts";
import type { Log } from "../telemetry/log.ts";

/** A peer opens its gate at the latest when its next poll sees the handshake, and its pods' packets follow. */
const peerDelayMs = 30_000;
/** Between two lines about one peer and direction. */
const lineSpacingMs = 60_000;

interface Pending {
  packets: number;
  loggedAtMs: number;
}

/** Says why packets to a peer leave in plaintext now; undefined if they do not. */
export type ExplainLeak = (peer: string) => string | undefined;

export class PlaintextWatch {
  /** Since when each peer is to be in the tunnel, on the clock that only goes forward. */
  readonly #since = new Map<string, number>();
  readonly #pending = new Map<string, Pending>();
  #isFirst = true;

  constructor(private readonly log: Log) {}

  /** Throws NetlinkError, SysError, StoreError. */
  keep(session: Pick<Session, "keepPlaintext">, state: MeshState, nowMs: number, explain: ExplainLeak): void {
    this.#follow(state, nowMs);
    const isProtected = (peer: string, direction: Direction) => {
      const sinceMs = this.#since.get(peer);
      if (sinceMs === undefined || state.settings.mode === "strict") return false;
      // Packets that left until the kernel had the new routes were counted before this pass.
      return direction === "out" ? nowMs > sinceMs : nowMs - sinceMs >= peerDelayMs;
    };
    const { news, hasGap } = session.keepPlaintext(state, isProtected);
    if (hasGap && state.up)
      this.log.warn(
        "nftables table removed by another process: packets in plaintext were not counted meanwhile",
      );
    for (const one of news) if (one.isLeak) this.#add(one);
    this.#write(nowMs, explain);
  }

  #follow(state: MeshState, nowMs: number): void {
    const names = new Set<string>();
    for (const peer of state.ownership.peers) {
      if (intentFor(state, peer).reach !== "tunnel") continue;
      names.add(peer.name);
      // Those that were there before this agent have had their time.
      if (!this.#since.has(peer.name)) this.#since.set(peer.name, this.#isFirst ? -peerDelayMs : nowMs);
    }
    for (const name of this.#since.keys()) if (!names.has(name)) this.#since.delete(name);
    this.#isFirst = false;
  }

  #add({ peer, direction, packets }: PlaintextNews): void {
    const key = `${direction} ${peer}`;
    const pending = this.#pending.get(key);
    if (pending === undefined) this.#pending.set(key, { packets, loggedAtMs: Number.NEGATIVE_INFINITY });
    else pending.packets += packets;
  }

  /** The first packets have their line at once, and later ones one a minute. */
  #write(nowMs: number, explain: ExplainLeak): void {
    for (const [key, pending] of this.#pending) {
      if (nowMs - pending.loggedAtMs < lineSpacingMs) continue;
      const space = key.indexOf(" ");
      const [direction, peer] = [key.slice(0, space), key.slice(space + 1)];
      if (pending.packets === 0) {
        this.#pending.delete(key);
        continue;
      }
      const cause = direction === "in" ? "the peer sent them outside the tunnel" : explain(peer);
      this.log.warn("packets in plaintext", {
        ...{ peer, direction, packets: pending.packets },
        ...(cause === undefined ? {} : { cause }),
      });
      this.#pending.set(key, { packets: 0, loggedAtMs: nowMs });
    }
  }
}
