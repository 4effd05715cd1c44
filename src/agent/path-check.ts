// Checks in the kernel where packets for the peers go. A change of routes, rules or devices causes an event
// or is seen by the poll. The pass after it checks all peers; of thousands of peers it checks some hundred, in
// turn. A change without an event (forwarding switched off) concerns all peers alike: a poll checks one, in
// turn, and all of them if that one is wrong.
import type { Device } from "../net/device.ts";
import { hasNftTable } from "../netlink/nft/presence.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { findDrift } from "../plan/report/peer-status.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Session } from "../reconcile/session.ts";
import type { Problem } from "../telemetry/problem-log.ts";

/** Of thousands of peers each check asks for so many, in turn: about 10 ms of work. */
const maxSample = 256;
/** A probe of readiness waits for the answer. */
const maxProbed = 64;

type ReadsReach = Pick<Session, "readReach">;

export class PathCheck {
  #next = 0;
  #drifted: ReadonlySet<string> = new Set();

  /** Names of the peers that the last check found. */
  get drifted(): ReadonlySet<string> {
    return this.#drifted;
  }

  /** Asks for some peers now; a sentence about the first whose packets go another way than intended. */
  sample(session: ReadsReach, state: MeshState): string | undefined {
    if (!state.up) return undefined;
    const [first] = this.#find(session, this.#take(state, maxProbed)).values();
    return first;
  }

  /**
   * The peers whose packets go another way than intended, each with a sentence. `polled`: the devices as an
   * idle poll has read them; undefined after a sync. Throws NetlinkError, SysError.
   */
  check(
    session: ReadsReach,
    state: MeshState,
    polled: ReadonlyMap<string, Device> | undefined,
  ): ReadonlyMap<string, Problem> {
    const drift = state.up ? this.#check(session, state, polled) : new Map<string, string>();
    this.#drifted = new Set(drift.keys());
    const name = "packets go another way than intended";
    return new Map([...drift].map(([peer, message]) => [peer, { message, name, fields: { peer } }]));
  }

  #check(
    session: ReadsReach,
    state: MeshState,
    polled: ReadonlyMap<string, Device> | undefined,
  ): Map<string, string> {
    if (this.#drifted.size === 0) {
      const some = this.#take(state, polled === undefined ? maxSample : 1);
      const drift = this.#find(session, some, polled);
      if (drift.size === 0 || some === state) return drift;
    }
    return this.#find(session, state);
  }

  #find(session: ReadsReach, state: MeshState, polled?: ReadonlyMap<string, Device>): Map<string, string> {
    return findDrift(state, session.readReach(state, hasTable(), polled));
  }

  /** The mesh with the next peers alone; with all of them if there are no more. */
  #take(state: MeshState, count: number): MeshState {
    const { peers } = state.ownership;
    if (peers.length <= count) return state;
    const from = this.#next % peers.length;
    this.#next += count;
    const some = [...peers.slice(from), ...peers.slice(0, from)].slice(0, count);
    return { ...state, ownership: { ...state.ownership, peers: some } };
  }
}

/** The pass repairs the table, so that its presence says what it does. */
export function hasTable(): boolean {
  return hasNftTable(firewallName) === true;
}
