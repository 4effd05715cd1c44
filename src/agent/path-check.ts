// Checks in the kernel where packets for the peers go. A change of routes, rules or devices causes an event
// or is seen by the poll, and the pass after it checks all peers. A change without an event (forwarding
// switched off) concerns all peers alike: a poll checks one, in turn, and all of them if that one is wrong.

import type { Device } from "../net/device.ts";
import { hasNftTable } from "../netlink/nft/presence.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { findDrift } from "../plan/report/peer-status.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Session } from "../reconcile/session.ts";
import type { Problem } from "../telemetry/problem-log.ts";

/** A probe of readiness waits for the answer. */
const maxSample = 64;

export class PathCheck {
  #next = 0;
  #drifted: ReadonlySet<string> = new Set();

  /** Names of the peers that the last check found. */
  get drifted(): ReadonlySet<string> {
    return this.#drifted;
  }

  /** Asks for some peers now; a sentence about the first whose packets go another way than intended. */
  sample(session: Pick<Session, "readReach">, state: MeshState): string | undefined {
    if (!state.up) return undefined;
    const { peers } = state.ownership;
    const from = peers.length <= maxSample ? 0 : this.#next % peers.length;
    const some = [...peers.slice(from), ...peers.slice(0, from)].slice(0, maxSample);
    this.#next += maxSample;
    const sample = { ...state, ownership: { ...state.ownership, peers: some } };
    const [first] = findDrift(sample, session.readReach(sample, hasTable())).values();
    return first;
  }

  /**
   * The peers whose packets go another way than intended, each with a sentence. `polled`: the devices as an
   * idle poll has read them; undefined after a sync. Throws NetlinkError, SysError.
   */
  check(
    session: Pick<Session, "readReach">,
    state: MeshState,
    polled: ReadonlyMap<string, Device> | undefined,
  ): ReadonlyMap<string, Problem> {
    if (!state.up) {
      this.#drifted = new Set();
      return new Map();
    }
    const { peers } = state.ownership;
    if (polled !== undefined && this.#drifted.size === 0) {
      const one = peers[this.#next++ % Math.max(1, peers.length)];
      const sample = { ...state, ownership: { ...state.ownership, peers: one === undefined ? [] : [one] } };
      const reach = session.readReach(sample, hasTable(), polled);
      if (findDrift(sample, reach).size === 0) return new Map();
    }
    const drift = findDrift(state, session.readReach(state, hasTable()));
    this.#drifted = new Set(drift.keys());
    const name = "packets go another way than intended";
    return new Map([...drift].map(([peer, message]) => [peer, { message, name, fields: { peer } }]));
  }
}

/** The pass repairs the table, so that its presence says what it does. */
export function hasTable(): boolean {
  return hasNftTable(firewallName) === true;
}
