// What is a leak, and which lines it has: a peer gets its time to send into the tunnel, and a flood of packets
// is one line a minute.
import { expect, test } from "bun:test";
import { PlaintextWatch } from "../../src/agent/plaintext-watch.ts";
import type { PlaintextJudge, PlaintextNews } from "../../src/plan/report/plaintext-evidence.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";
import type { MeshState } from "../../src/reconcile/mesh-plan.ts";
import { Log } from "../../src/telemetry/log.ts";
import { plaintextOf } from "../plan/report/plaintext.ts";

const second = 1000;
const peer = {
  ...{ name: "n2", endpoints: ["192.0.2.2"], nodeIPs: [], podCIDRs: ["10.2.0.0/24"] },
  slots: [{ slot: "a", publicKey: "K", port: 51820, state: "active" }],
};

/** A node whose gate to n2 is open or closed. */
function stateOf(isOpen: boolean, mode = "permissive"): MeshState {
  const path = { candidate: 0, initiate: [], pinned: false, ...(isOpen ? { slot: "a" } : {}) };
  return {
    ...{ up: true, settings: parseSettings({ mode }), ownership: { peers: [peer], refusals: [] } },
    ...{ node: { ...peer, name: "n1" }, paths: new Map([["n2", path]]) },
  } as unknown as MeshState;
}

class Watched {
  readonly lines: Record<string, unknown>[] = [];
  readonly watch = new PlaintextWatch(
    new Log({
      ...{ level: "debug", format: "json", now: () => "" },
      write: (line) => void this.lines.push(JSON.parse(line)),
    }),
  );

  /** The leaked packets that the store knows of. */
  #stored = 0;

  /** One pass in which packets were counted, and `stored` more were by another process; returns whether they were leaks. */
  pass(
    state: MeshState,
    nowMs: number,
    packets: Partial<Record<"in" | "out", number>> = {},
    { hasGap = false, stored = 0, isUp = true } = {},
  ): boolean[] {
    const leaks: boolean[] = [];
    const refused = { sources: new Map(), peers: [] };
    const none = { transit: new Map(), byInterface: [], strayPackets: [], refused };
    const keepPlaintext = (_: MeshState, judge?: PlaintextJudge) => {
      const news = Object.entries(packets).map(([direction, count]): PlaintextNews => {
        const isLeak = judge?.isProtected("n2", direction as "in" | "out") ?? false;
        leaks.push(isLeak);
        return { peer: "n2", direction: direction as "in" | "out", packets: count, isLeak };
      });
      this.#stored += stored + news.reduce((sum, { packets, isLeak }) => sum + (isLeak ? packets : 0), 0);
      const peers = new Map([["n2", plaintextOf(0, this.#stored)]]);
      return { news, hasGap, hasChanged: news.length > 0, evidence: { peers }, ...none };
    };
    this.watch.keep({ keepPlaintext, isUp }, state, nowMs, () => "the route is by eth0");
    return leaks;
  }

  get texts() {
    return this.lines.map(({ level, direction, packets }) => `${level} ${direction} ${packets}`);
  }
}

test("packets to a peer are a leak once the kernel has its routes; from it, once it had its time", () => {
  const watched = new Watched();
  watched.pass(stateOf(false), 0);
  // Counted before the pass that follows the one which opened the gate.
  expect(watched.pass(stateOf(true), 10 * second, { in: 1, out: 1 })).toEqual([false, false]);
  expect(watched.pass(stateOf(true), 11 * second, { in: 1, out: 1 })).toEqual([false, true]);
  expect(watched.pass(stateOf(true), 41 * second, { in: 1 })).toEqual([true]);
  expect(watched.texts).toEqual(["warn out 1", "warn in 1"]);
  expect(watched.lines[0]).toMatchObject({ peer: "n2", cause: "the route is by eth0" });
});

test("a peer that was in the tunnel before the agent started has had its time", () => {
  expect(new Watched().pass(stateOf(true), 0, { in: 1 })).toEqual([true]);
});

test("packets of a peer that cannot be encrypted to, and what strict mode drops, are no leaks", () => {
  const watched = new Watched();
  expect(watched.pass(stateOf(false), 0, { in: 5, out: 5 })).toEqual([false, false]);
  expect(watched.pass(stateOf(true, "strict"), 90 * second, { in: 5, out: 5 })).toEqual([false, false]);
  expect(watched.texts).toEqual([]);
});

test("a flood is one line a minute with the sum, and the last packets are not forgotten", () => {
  const watched = new Watched();
  for (let s = 0; s <= 62; s++) watched.pass(stateOf(true), s * second, { out: 10 });
  expect(watched.texts).toEqual(["warn out 10", "warn out 600"]);
  for (let s = 63; s < 130; s++) watched.pass(stateOf(true), s * second);
  expect(watched.texts).toEqual(["warn out 10", "warn out 600", "warn out 20"]);
});

test("a leak that another process has stored is a line too, unless it was before this agent", () => {
  const watched = new Watched();
  watched.pass(stateOf(true), 0, {}, { stored: 7 });
  watched.pass(stateOf(true), second, {}, { stored: 1 });
  watched.pass(stateOf(true), 2 * second);
  expect(watched.texts).toEqual(["warn undefined 1"]);
  expect(watched.lines[0]).toMatchObject({ peer: "n2", cause: "the route is by eth0" });
});

test("a table that another process removed is a line, unless the node is down", () => {
  const watched = new Watched();
  watched.pass(stateOf(true), 0, {}, { hasGap: true });
  watched.pass(stateOf(true), second);
  watched.pass({ ...stateOf(true), up: false }, 2 * second, {}, { hasGap: true });
  expect(watched.lines).toHaveLength(1);
});

test("a table that goes because an operator puts the node down was removed by no other process", () => {
  const watched = new Watched();
  watched.pass(stateOf(true), 0, {}, { hasGap: true, isUp: false });
  expect(watched.lines).toEqual([]);
});

test("a set that stays empty is one line, and one that is emptied again is another", () => {
  const watched = new Watched();
  for (const hasGap of [true, true, false, true]) watched.pass(stateOf(true), 0, {}, { hasGap });
  expect(watched.lines).toHaveLength(2);
});

test("a loss is told of a peer whose packets are to be in the tunnel, with the source", () => {
  const { watch } = new Watched();
  const refused = { sources: new Map([["198.51.100.9", 1]]), peers: ["n2", "n3"] };
  expect(watch.describeLosses(refused)).toBeUndefined();
  const watched = new Watched();
  watched.pass(stateOf(true), 0);
  expect(watched.watch.describeLosses(refused)).toMatch(/n2.*198\.51\.100\.9/);
});
