// Contested claims: which owners are asked for a handshake, and which claims have lapsed (plan/peers/lapses.ts).
import type { PeerPath } from "../net/path.ts";
import { type LapsePlan, planLapses } from "../plan/peers/lapses.ts";
import type { Clocks, PeerObservations } from "../plan/peers/observation.ts";
import type { Contender, GateView } from "../sources/node-view.ts";

/** True if the source of a peer's record gives the peer what it claims. */
export type IsGiven = (peer: Contender, claim: string, kind: "node IP" | "pod CIDR") => boolean;

export interface ContestFacts {
  readonly paths: ReadonlyMap<string, PeerPath>;
  readonly observations: PeerObservations;
  readonly isGiven: IsGiven;
}

const nobodyAsked = { come: [], asked: new Set<string>(), wanted: new Set<string>() };

export class ClaimContest {
  /** Owners of contested claims, and since when this process has asked them for a handshake. */
  #askedHereMs: ReadonlyMap<string, number> = new Map();

  /** In mode off, no claim lapses: claims lead no traffic anywhere, and sessions end. */
  weigh(view: GateView, { paths, observations, isGiven }: ContestFacts, clocks: Clocks): LapsePlan {
    const { settings, node, ownership, contested, lapses } = view;
    if (contested.size === 0 || settings.mode === "off") {
      this.#askedHereMs = new Map();
      return { ...nobodyAsked, lapses };
    }
    const stored = [...paths].flatMap(([name, { contestedSinceMs }]) =>
      contestedSinceMs === undefined ? [] : [[name, contestedSinceMs] as const],
    );
    const plan = planLapses(
      {
        ...{ node: node.name, refusals: ownership.refusals, lapses, observations },
        records: new Map([...contested].map(([name, { record }]) => [name, record])),
        ...{ askedSinceMs: new Map(stored), askedHereMs: this.#askedHereMs },
        isGiven: (name, claim, kind) => {
          const peer = contested.get(name);
          return peer !== undefined && isGiven(peer, claim, kind);
        },
      },
      clocks,
    );
    const sinceMs = (name: string) => this.#askedHereMs.get(name) ?? clocks.nowMs;
    this.#askedHereMs = new Map(Array.from(plan.asked, (name) => [name, sinceMs(name)]));
    return plan;
  }
}
