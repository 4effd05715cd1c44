// Keeps what the kernel counts outside the tunnel, and logs leaks: packets that should have been in the
// tunnel. A peer that has just been given its tunnel may need a while to send into it, which is no leak.

import type { PlaintextEvidence } from "../net/plaintext.ts";
import type { Direction } from "../plan/firewall/sets.ts";
import { describeLoss, intentFor } from "../plan/report/peer-status.ts";
import type { PlaintextNews } from "../plan/report/plaintext-evidence.ts";
import { explainLoss, type RefusedPackets } from "../plan/report/refused-sources.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Session } from "../reconcile/session.ts";
import type { Log } from "../telemetry/log.ts";
import type { Problem } from "../telemetry/problem-log.ts";
import { RefusedSources } from "./refused-sources.ts";
import { TransitWatch } from "./transit-watch.ts";

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
  readonly #transit = new TransitWatch();
  readonly #refused = new RefusedSources();
  /** The packets of each peer that have leaked, as they were known after the last reading. */
  readonly #leaked = new Map<string, number>();
  #isFirst = true;
  /** True if the last reading had a gap: a set stays empty from the pass that finds it so until the sync has filled it. */
  #hadGap = false;

  constructor(private readonly log: Log) {}

  /** Names of the peers that sent packets through this node to others since then, outside the tunnel. */
  transitSince(fromMs: number): readonly string[] {
    return this.#transit.peersSince(fromMs);
  }

  /** Sources that packets to peers have had since then and that no node takes out of the tunnel. */
  refusedSince(fromMs: number): readonly string[] {
    return this.#refused.since(fromMs);
  }

  /** Names of the peers to which packets with such a source go through the tunnel. */
  get lossy(): readonly string[] {
    return this.#refused.peers.filter((peer) => this.#since.has(peer));
  }

  /** A sentence about packets that are lost in the tunnel now; undefined if none are known to be. */
  describeLosses(refused: RefusedPackets): string | undefined {
    const name = refused.peers.find((peer) => this.#since.has(peer));
    return name === undefined ? undefined : describeLoss({ name, loss: explainLoss(refused) });
  }

  /** Throws NetlinkError, SysError, StoreError. */
  keep(
    session: Pick<Session, "keepPlaintext" | "isUp">,
    state: MeshState,
    nowMs: number,
    explain: ExplainLeak,
  ): void {
    const isFirst = this.#isFirst;
    this.#follow(state, nowMs);
    const isProtected = (peer: string, direction: Direction) => {
      const sinceMs = this.#since.get(peer);
      if (sinceMs === undefined || state.settings.mode === "strict") return false;
      // Packets that left until the kernel had the new routes were counted before this pass.
      return direction === "out" ? nowMs > sinceMs : nowMs - sinceMs >= peerDelayMs;
    };
    const { news, hasGap, evidence, transit, refused } = session.keepPlaintext(state, {
      isProtected,
      isProgrammed: true,
    });
    this.#transit.observe(transit, nowMs);
    this.#refused.observe(refused, nowMs);
    const isNewGap = hasGap && !this.#hadGap;
    this.#hadGap = hasGap;
    // The state is that of the last sync: an operator may have put the node down since, which removes the table.
    if (isNewGap && state.up && session.isUp)
      this.log.warn(
        "nftables table removed or emptied by another process: packets in plaintext were not counted meanwhile",
      );
    const leaks = news.filter(({ isLeak }) => isLeak);
    for (const { direction, peer, packets } of leaks) this.#add(`${direction} ${peer}`, packets);
    this.#addForeign(evidence, leaks, isFirst);
    this.#write(nowMs, explain);
  }

  /** Adds leaks that another process has read and stored: a command that synced, a plugin. It does not tell the direction. */
  #addForeign({ peers }: PlaintextEvidence, own: readonly PlaintextNews[], isFirst: boolean): void {
    for (const [peer, { leakedPackets }] of peers) {
      const added = own.reduce((sum, one) => sum + (one.peer === peer ? one.packets : 0), 0);
      // An earlier agent has told of what was stored before this one started.
      const before = this.#leaked.get(peer) ?? (isFirst ? leakedPackets - added : 0);
      if (leakedPackets - added > before) this.#add(` ${peer}`, leakedPackets - added - before);
      this.#leaked.set(peer, leakedPackets);
    }
  }

  /** The sources of the last minute, as problems by source. */
  refusedProblems({ settings }: MeshState): ReadonlyMap<string, Problem> {
    return this.#refused.problems(settings.mode === "off");
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

  /** `key`: the direction, which may be unknown, and the peer. */
  #add(key: string, packets: number): void {
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
        ...(direction === "" ? { peer } : { peer, direction }),
        packets: pending.packets,
        ...(cause === undefined ? {} : { cause }),
      });
      this.#pending.set(key, { packets: 0, loggedAtMs: nowMs });
    }
  }
}
