// The rotation's state machine as a table: what is known, at which time, and
// what comes of it. Clocks are numbers.
import { describe, expect, test } from "bun:test";
import type { PeerPath } from "../../../src/net/path.ts";
import type { NodeRecord, Slot, SlotRecord, SlotState } from "../../../src/net/record.ts";
import {
  planRotation,
  type RotationContext,
  type RotationFacts,
  type RotationMemory,
  type RotationPlan,
} from "../../../src/plan/keys/rotation.ts";
import { chooseRotationTime } from "../../../src/plan/keys/rotation-time.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import type { PeerObservation, SlotObservation } from "../../../src/plan/peers/observation.ts";

const now = 1_000_000;
const wall = 1_700_000_000_000;
const day = 86_400;
const clocks = { nowMs: now, wallMs: wall };

type States = readonly [a: SlotState, b: SlotState];

function slotRecords([a, b]: States): SlotRecord[] {
  return [
    { slot: "a", publicKey: "A", port: 51820, state: a },
    { slot: "b", publicKey: "B", port: 51821, state: b },
  ];
}

function record(name: string, states: States): NodeRecord {
  return {
    name,
    slots: slotRecords(states),
    endpoints: ["192.0.2.1"],
    nodeIPs: ["192.0.2.1"],
    podCIDRs: ["10.1.0.0/24"],
  };
}

const peerOf = (name: string, states: States = ["active", "active"]): OwnedPeer => record(name, states);

function facts(
  states: States,
  remaining?: readonly Slot[],
  change: Partial<RotationFacts> = {},
): RotationFacts {
  return {
    name: "n1",
    up: true,
    keys: slotRecords(states).map(({ slot, state }) => ({ slot, state, createdAtMs: wall })),
    settings: { keyRotation: day, drainTimeout: 300, recordsDir: "/records", kubeconfig: "" },
    ...(remaining === undefined ? {} : { rotation: { remaining } }),
    ...change,
  };
}

/** Seconds ago, per slot: the last handshake, the last packet of data. */
type Ago = { readonly handshake?: number; readonly data?: number; readonly heard?: number };

function observationOf(ago: Readonly<Partial<Record<Slot, Ago>>>): PeerObservation {
  const at = (key: string, seconds: number | undefined) =>
    seconds === undefined ? {} : { [key]: now - seconds * 1000 };
  const slotSight = ({ handshake, data, heard }: Ago): SlotObservation => ({
    ...{ publicKey: "K", ownKey: "O", lastHandshakeMs: 0, rxBytes: 0, txBytes: 0 },
    ...at("handshakeAtMs", handshake),
    ...at("dataAtMs", data),
    ...at("heardAtMs", heard),
  });
  return Object.fromEntries(Object.entries(ago).map(([slot, value]) => [slot, slotSight(value)]));
}

interface Around {
  readonly peers?: readonly OwnedPeer[];
  readonly onSlot?: Readonly<Record<string, Slot>>;
  readonly observations?: Readonly<Record<string, PeerObservation>>;
  readonly isPublished?: boolean;
}

function plan(own: RotationFacts, around: Around = {}, before?: RotationMemory): RotationPlan {
  const [a, b] = own.keys.map(({ state }) => state);
  const path = (slot: Slot): PeerPath => ({ slot, candidate: 0, initiate: [], pinned: false });
  const context: RotationContext = {
    node: record("n1", [a as SlotState, b as SlotState]),
    peers: around.peers ?? [],
    paths: new Map(Object.entries(around.onSlot ?? {}).map(([name, slot]) => [name, path(slot)])),
    observations: new Map(Object.entries(around.observations ?? {})),
    isPublished: around.isPublished ?? true,
  };
  return planRotation(own, context, before, clocks);
}

/** Waited for so many seconds; our own traffic left the slot as long ago, or `own` seconds. */
function since(phase: "next" | "draining", slot: Slot, seconds: number, own = seconds): RotationMemory {
  return { phase, slot, sinceMs: now - seconds * 1000, ownAtMs: now - own * 1000 };
}

describe("without a rotation", () => {
  test.each<[string, Partial<RotationFacts>, object]>([
    ["it is scheduled", {}, { state: { phase: "scheduled" } }],
    [
      "never where it is off",
      { settings: { keyRotation: 0, drainTimeout: 300, recordsDir: "/records", kubeconfig: "" } },
      { state: { phase: "off", reason: "keyRotation is off" } },
    ],
    [
      "never if no peer would hear of it",
      { settings: { keyRotation: day, drainTimeout: 300, recordsDir: "", kubeconfig: "" } },
      {
        state: { phase: "off", reason: expect.stringContaining("neither recordsDir nor kubeconfig is set") },
      },
    ],
    ["never while the node is down", { up: false }, { state: { phase: "off", reason: "the node is down" } }],
  ])("%s", (_, change, expected) => {
    const decided = plan(facts(["active", "active"], undefined, change));
    expect(decided).toMatchObject(expected);
    expect(decided.change).toBeUndefined();
  });

  test("it begins when the older key is due, and is woken for it in time", () => {
    const aged = (a: number, b: number) =>
      facts(["active", "active"], undefined, {
        keys: [
          { slot: "a", state: "active", createdAtMs: wall - a * 1000 },
          { slot: "b", state: "active", createdAtMs: wall - b * 1000 },
        ],
      });
    expect(plan(aged(0, 0.9 * day - 1)).change).toBeUndefined();
    expect(plan(aged(0, 1.1 * day + 1)).change).toEqual({ do: "begin" });
    expect(plan(aged(1.1 * day + 1, 0)).change).toEqual({ do: "begin" });
    const due = chooseRotationTime("n1", aged(0, day).keys, day, wall);
    const soon = aged(0, day + (due - wall) / 1000 - 42);
    // The jitter of another key time is another one, so ask for it.
    const left = chooseRotationTime("n1", soon.keys, day, wall) - wall;
    expect(plan(soon).wakeInMs).toBe(left > 0 && left < 60_000 ? left : undefined);
    expect(plan(aged(0, 0)).wakeInMs).toBeUndefined();
  });
});

describe("before a slot drains", () => {
  const live = observationOf({ a: { handshake: 10 }, b: { handshake: 10 } });
  const rotating = peerOf("n2", ["active", "draining"]);

  test("at once, if no peer drains b", () => {
    const own = facts(["active", "active"], ["a", "b"]);
    const other = peerOf("n2", ["draining", "active"]);
    expect(plan(own).change).toEqual({ do: "drain", slot: "a" });
    expect(plan(own, { peers: [other], observations: { n2: live } }).change).toEqual({
      do: "drain",
      slot: "a",
    });
  });

  test("a waits for a peer that drains b, unless that is gone or stuck", () => {
    const own = facts(["active", "active"], ["a", "b"]);
    const waiting = plan(own, { peers: [rotating], observations: { n2: live } });
    expect(waiting).toMatchObject({
      state: { phase: "next", slot: "a" },
      waitingFor: ["n2"],
      wakeInMs: 1000,
    });
    expect(waiting.change).toBeUndefined();
    const after = (seconds: number, seen: PeerObservation) =>
      plan(own, { peers: [rotating], observations: { n2: seen } }, since("next", "a", seconds)).change;
    expect(after(599, live)).toBeUndefined();
    expect(after(600, live)).toEqual({ do: "drain", slot: "a" });
    expect(after(0, observationOf({ a: { handshake: 181 }, b: {} }))).toEqual({ do: "drain", slot: "a" });
  });

  test("b waits for no peer: one that drains a may be waiting for us", () => {
    const own = facts(["active", "active"], ["b"]);
    const others = [peerOf("n2", ["draining", "active"]), peerOf("n3", ["active", "draining"])];
    const decided = plan(own, { peers: others, observations: { n2: live, n3: live } });
    expect(decided.change).toEqual({ do: "drain", slot: "b" });
  });
});

describe("while a slot drains", () => {
  const own = facts(["draining", "active"], ["a", "b"]);
  const both = (a: Ago, b: Ago = { handshake: 5 }) => observationOf({ a, b });
  const one = (seen: PeerObservation, onSlot: Slot = "b", peer = peerOf("n2")): Around => ({
    peers: [peer],
    onSlot: { n2: onSlot },
    observations: { n2: seen },
  });

  /** Waits for these peers, or is done and reports these. */
  type Outcome = { readonly waitsFor: readonly string[] } | { readonly reports: readonly string[] };
  type Case = readonly [what: string, around: Around, waited: RotationMemory, outcome: Outcome];
  const quiet = both({ handshake: 60, data: 4 });
  const streaming = both({ handshake: 9, data: 0 });
  const [n2Waits, wait, done] = [{ waitsFor: ["n2"] }, { waitsFor: [] }, { reports: [] }];
  const only = (slot: Slot) => ({
    ...peerOf("n2"),
    slots: slotRecords(["active", "active"]).filter((one) => one.slot === slot),
  });
  const keyless = { ...peerOf("n2"), slots: [] };
  const ago = (seconds: number, own?: number) => since("draining", "a", seconds, own);
  test.each<Case>([
    ["no peer is there, too soon", {}, ago(9.9), wait],
    ["no peer is there", {}, ago(10), done],
    ["all have left it", one(quiet), ago(10), done],
    ["all have left it, too soon to know", one(quiet), ago(9), wait],
    ["data 2.9 s ago", one(both({ handshake: 60, data: 2.9 })), ago(60), n2Waits],
    ["our own traffic is on it", one(quiet, "a"), ago(60), n2Waits],
    ["our own traffic left it just now", one(quiet), ago(60, 2), wait],
    ["our own traffic left it", one(quiet), ago(60, 3), done],
    ["a peer that is gone", one(both({ handshake: 181, data: 1 }, {}), "a"), ago(10), done],
    ["a peer that was never there", one(both({}, {}), "a"), ago(10), done],
    ["heard, though without a handshake", one(both({ heard: 100 }, {}), "a"), ago(10), n2Waits],
    ["a peer that was not seen yet", one({}), ago(60), n2Waits],
    ["a peer without this slot", one(quiet, "b", only("b")), ago(10), done],
    ["a keyless peer", one({}, "b", keyless), ago(10), done],
    ["one that has no other slot, in time", one(quiet, "a", only("a")), ago(299), n2Waits],
    ["one that never leaves, in time", one(streaming), ago(299), n2Waits],
    ["one that never leaves", one(streaming), ago(300), { reports: ["n2"] }],
    ["one that we could not leave either", one(streaming, "a"), ago(303, 3), { reports: ["n2"] }],
  ])("%s", (_, around, waited, outcome) => {
    const decided = plan(own, around, waited);
    if ("reports" in outcome) {
      expect(decided.change).toEqual({ do: "rekey", slot: "a", undrained: outcome.reports });
      return;
    }
    expect(decided.waitingFor).toEqual(outcome.waitsFor);
    expect(decided.change).toBeUndefined();
    expect(decided.wakeInMs).toBe(1000);
    expect(decided.memory?.sinceMs).toBe(waited.sinceMs);
  });

  test("the time begins when the peers can know, and anew after a restart", () => {
    const before = since("draining", "a", 1000);
    expect(plan(own, { isPublished: false }, before).memory).toBeUndefined();
    expect(plan(own, { isPublished: false }, before).change).toBeUndefined();
    const restarted = { phase: "draining", slot: "a", sinceMs: now, ownAtMs: now };
    expect(plan(own, {}).memory).toEqual(restarted as RotationMemory);
    // The memory of the slot before does not apply to this one.
    const b = facts(["active", "draining"], ["b"]);
    expect(plan(b, {}, before)).toMatchObject({ memory: { slot: "b", sinceMs: now } });
    expect(plan(own, {}, since("next", "a", 1000))).toMatchObject({
      memory: { phase: "draining", sinceMs: now },
    });
  });

  test("our own traffic that is on it is remembered as of now", () => {
    const { memory } = plan(own, one(quiet, "a"), since("draining", "a", 60, 60));
    expect(memory).toEqual(since("draining", "a", 60, 0));
  });

  test("b is held for a peer that drains a: their traffic takes b until that is done", () => {
    const ours = facts(["active", "draining"], ["b"]);
    const meeting = peerOf("n2", ["draining", "active"]);
    const silent = observationOf({ a: { handshake: 5 }, b: { handshake: 60 } });
    const around = { peers: [meeting], onSlot: { n2: "a" as Slot }, observations: { n2: silent } };
    const after = (seconds: number) => plan(ours, around, since("draining", "b", seconds));
    expect(after(300)).toMatchObject({ waitingFor: ["n2"] });
    expect(after(599).change).toBeUndefined();
    expect(plan(ours, around, since("draining", "b", 603, 3)).change).toMatchObject({
      do: "rekey",
      undrained: ["n2"],
    });
    // Once it is done, nothing holds b any more.
    const done = { ...around, peers: [peerOf("n2")] };
    expect(plan(ours, done, since("draining", "b", 60, 3)).change).toMatchObject({
      do: "rekey",
      undrained: [],
    });
  });

  test("held if no peer could hear of it, and if the node is down", () => {
    const settings = { keyRotation: day, drainTimeout: 300, recordsDir: "", kubeconfig: "" };
    const deaf = plan(
      facts(["draining", "active"], ["a", "b"], { settings }),
      {},
      since("draining", "a", 900),
    );
    expect(deaf).toMatchObject({ state: { phase: "held", slot: "a" } });
    expect(deaf.change).toBeUndefined();
    const down = plan(facts(["active", "active"], ["b"], { up: false }));
    expect(down).toMatchObject({ state: { phase: "held", slot: "b", reason: "the node is down" } });
    expect(down.change).toBeUndefined();
  });

  test("goes on though the schedule is off: a command has begun it", () => {
    const settings = { keyRotation: 0, drainTimeout: 300, recordsDir: "/records", kubeconfig: "" };
    const going = plan(facts(["active", "active"], ["b"], { settings }));
    expect(going.change).toEqual({ do: "drain", slot: "b" });
  });
});
