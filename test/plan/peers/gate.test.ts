// The gate as a table: what is known of a peer, the time, and what follows. Silence is gate-silence.test.ts.
import { describe, expect, test } from "bun:test";
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import type { SlotState } from "../../../src/net/record.ts";
import { stepGate } from "../../../src/plan/peers/gate.ts";
import { type GateState, open, waiting } from "../../../src/plan/peers/gate-state.ts";
import { isProved } from "../../../src/plan/peers/handshakes.ts";
import type { SlotObservation } from "../../../src/plan/peers/observation.ts";
import { localRecord, makeRandom, pick } from "../random.ts";
import { ago, type Case, now, observation, peer, s, say, step } from "./gates.ts";

const table: [string, Case, string][] = [
  ["no key: not reached through the tunnel", { peer: peer({}) }, "closed, candidate 0; nothing new"],
  [
    "withdrawn keys are the only way back",
    { peer: peer({ a: "withdrawn", b: "withdrawn" }), path: { slot: "a" } },
    "closed, candidate 0; closed",
  ],
  [
    "another node has its keys now: the path stays open",
    { peer: { ...peer({}), refusedSlots: ["a", "b"] }, path: { slot: "a", initiate: ["b"], pinned: true } },
    "a, candidate 0; nothing new",
  ],
  [
    "another node has its keys: never opened, it is not initiated",
    { peer: { ...peer({}), refusedSlots: ["a"] } },
    "closed, candidate 0; nothing new",
  ],
  [
    "another node has the key of its slot: the other slot must do",
    { peer: { ...peer({ b: "active" }), refusedSlots: ["a"] }, path: { slot: "a" } },
    "b, candidate 0; moved",
  ],
  [
    "mode off: the gate closes, whoever has its keys",
    { isDisabled: true, peer: { ...peer({}), refusedSlots: ["a"] }, path: { slot: "a" } },
    "closed, candidate 0; closed",
  ],
  [
    "no endpoint to send to: the path stays open",
    { peer: { ...peer(), endpoints: [] }, path: { slot: "a" } },
    "a, candidate 0; nothing new",
  ],
  [
    "no endpoint to send to, and silent: still open",
    {
      peer: { ...peer(), endpoints: [] },
      path: { slot: "a" },
      observed: { a: observation({ sentAtMs: ago(1), unansweredSinceMs: ago(31), handshakeAtMs: ago(131) }) },
    },
    "a, candidate 0, initiate a, pinned; silent reset-endpoint",
  ],
  [
    "no endpoint to send to: it may begin, and a handshake opens",
    { peer: { ...peer(), endpoints: [] }, observed: { a: observation({ handshakeAtMs: ago(1) }) } },
    "a, candidate 0; opened",
  ],
  [
    "waiting initiates on both slots",
    { waiting: { endpointSinceMs: ago(9) } },
    "closed, candidate 0, initiate ab; nothing new",
  ],
  [
    "after ten seconds the next endpoint",
    { waiting: { endpointSinceMs: ago(10) } },
    "closed, candidate 1, initiate ab; candidate",
  ],
  [
    "the last endpoint is followed by the first",
    { waiting: { endpointSinceMs: ago(10) }, path: { candidate: 2 } },
    "closed, candidate 0, initiate ab; candidate",
  ],
  [
    "when all had their turn, a minute each",
    { waiting: { endpointSinceMs: ago(59), endpointChanges: 3 } },
    "closed, candidate 0, initiate ab; nothing new",
  ],
  [
    "a handshake opens, on the endpoint that had it",
    { path: { candidate: 1 }, observed: { a: observation({ handshakeAtMs: ago(1) }) } },
    "a, candidate 1; opened",
  ],
  [
    "a handshake on slot b only opens b",
    { observed: { a: observation({}), b: observation({ handshakeAtMs: ago(1) }) } },
    "b, candidate 0; opened",
  ],
  [
    "an old handshake opens nothing",
    { observed: { a: observation({ handshakeAtMs: ago(151) }) }, waiting: { endpointSinceMs: ago(1) } },
    "closed, candidate 0, initiate ab; nothing new",
  ],
  [
    "released by an operator: the handshake of before does not open it again",
    { open: {}, observed: { a: observation({ handshakeAtMs: ago(1) }) } },
    "closed, candidate 0, initiate ab; nothing new",
  ],
  [
    "but the next one does",
    { waiting: { releasedAtMs: ago(2) }, observed: { a: observation({ handshakeAtMs: ago(1) }) } },
    "a, candidate 0; opened",
  ],
  [
    "the ratchet: no handshake, no way back to plaintext",
    { path: { slot: "a" }, observed: {} },
    "a, candidate 0; nothing new",
  ],
  [
    "a draining slot is left once the other has a handshake",
    {
      peer: peer({ a: "draining", b: "active" }),
      path: { slot: "a" },
      observed: { b: observation({ handshakeAtMs: ago(2) }) },
    },
    "b, candidate 0; moved",
  ],
  [
    "and until then initiates it",
    { peer: peer({ a: "draining", b: "active" }), path: { slot: "a" } },
    "a, candidate 0, initiate b; nothing new",
  ],
  [
    "a session about to end is not moved to",
    {
      peer: peer({ a: "draining", b: "active" }),
      path: { slot: "a" },
      observed: { b: observation({ handshakeAtMs: ago(150) }) },
    },
    "a, candidate 0, initiate b; nothing new",
  ],
  [
    "a withdrawn slot is left at once, handshake or not",
    { peer: peer({ a: "withdrawn", b: "active" }), path: { slot: "a" } },
    "b, candidate 0; moved",
  ],
  [
    "a path is not moved without need",
    { path: { slot: "b" }, observed: { a: observation({ handshakeAtMs: ago(1) }) } },
    "b, candidate 0; nothing new",
  ],
  [
    "mode off: the gate closes, handshake or not",
    {
      isDisabled: true,
      path: { slot: "a", candidate: 1 },
      observed: { a: observation({ handshakeAtMs: ago(1) }) },
    },
    "closed, candidate 0; closed",
  ],
  [
    "mode off initiates, too",
    { isDisabled: true, waiting: { endpointSinceMs: ago(1) } },
    "closed, candidate 0, initiate ab; nothing new",
  ],
  [
    "mode off tries the next endpoint, too",
    { isDisabled: true, waiting: { endpointSinceMs: ago(10) } },
    "closed, candidate 1, initiate ab; candidate",
  ],
  [
    "mode off: a handshake on either slot is enough, opens nothing, and keeps its endpoint",
    {
      isDisabled: true,
      path: { candidate: 1, initiate: ["a", "b"] },
      observed: { b: observation({ handshakeAtMs: ago(599) }) },
    },
    "closed, candidate 1; nothing new",
  ],
  [
    "mode off: after ten minutes it is proved again",
    {
      isDisabled: true,
      waiting: { endpointSinceMs: ago(1) },
      observed: { b: observation({ handshakeAtMs: ago(600) }) },
    },
    "closed, candidate 0, initiate ab; nothing new",
  ],
];

describe("gate", () => {
  test.each(table)("%s", (_name, given, expected) => {
    expect(say(step(given))).toBe(expected);
  });

  test("what mode off has proved lasts until it is proved again", () => {
    const seen = (seconds: number) => ({ b: observation({ handshakeAtMs: ago(seconds) }) });
    expect([599, 600, 899, 900].map((seconds) => isProved(seen(seconds), now))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(isProved({}, now)).toBe(false);
  });

  test("mode off and back: a handshake of meanwhile opens the gate again", () => {
    const shaken = { a: observation({ handshakeAtMs: ago(1) }) };
    const off = step({ isDisabled: true, path: { slot: "a" }, observed: shaken });
    expect(off.events).toEqual([{ kind: "closed", why: "off" }]);
    const on = step({ state: off.state, observed: shaken }, now + s);
    expect(say(on)).toBe("a, candidate 0; opened");
  });

  test("this node's own draining slot is left, too", () => {
    const slots = localRecord.slots.map((slot) =>
      slot.slot === "a" ? { ...slot, state: "draining" as const } : slot,
    );
    const decision = step(
      { path: { slot: "a" }, observed: { b: observation({ handshakeAtMs: ago(1) }) } },
      now,
      {
        ...localRecord,
        slots,
      },
    );
    expect(say(decision)).toBe("b, candidate 0; moved");
  });

  test.each(["waiting", "draining"] as const)(
    "of two nodes that hear of each other in the same moment one begins (%s); the other, where that comes to nothing",
    (what) => {
      const lesser = peer({ a: what === "draining" ? "draining" : "active", b: "active" });
      const greater = { ...localRecord, slots: lesser.slots.map((slot) => ({ ...slot, publicKey: "~" })) };
      const path = what === "draining" ? ({ slot: "a" } as const) : {};
      const wanted = what === "draining" ? "b" : "ab";
      const initiates = (given: Case, nowMs: number, node = localRecord) =>
        step({ path, ...given }, nowMs, node).path.initiate.join("");
      const fresh = { state: what === "draining" ? open(now) : waiting(now) };
      const theirs = { ...lesser, slots: greater.slots };
      expect(initiates({ peer: theirs, ...fresh }, now, { ...localRecord, slots: lesser.slots })).toBe(
        wanted,
      );
      const first = step({ path, peer: lesser, ...fresh }, now, greater);
      expect([first.path.initiate, first.hurry]).toEqual([[], true]);
      expect(initiates({ peer: lesser, state: first.state }, now + 400, greater)).toBe("");
      expect(initiates({ peer: lesser, state: first.state }, now + 500, greater)).toBe(wanted);
    },
  );

  test("if both sides drain another slot, both choose slot b: rotations that meet wait in one order", () => {
    const own = localRecord.slots.map((slot) =>
      slot.slot === "b" ? { ...slot, state: "draining" as const } : slot,
    );
    const given = {
      peer: peer({ a: "draining", b: "active" }),
      observed: { b: observation({ handshakeAtMs: ago(1) }) },
    };
    const node = { ...localRecord, slots: own };
    expect(say(step({ ...given, path: { slot: "a" } }, now, node))).toBe("b, candidate 0; moved");
    expect(say(step({ ...given, path: { slot: "b" } }, now, node))).toBe("b, candidate 0; nothing new");
  });

  test("once open it never closes, whatever is seen, while the record has a key", () => {
    const random = makeRandom(3);
    const states: SlotState[] = ["active", "draining"];
    let path: PeerPath = { ...closedPath, slot: "a" };
    let state: GateState | undefined;
    for (let i = 0; i < 20_000; i++) {
      const nowMs = now + i * 1700;
      const time = () => (random() < 0.3 ? {} : { handshakeAtMs: nowMs - random() * 400 * s });
      const seen = (): SlotObservation =>
        observation({
          ...time(),
          ...{ sentAtMs: nowMs, heardAtMs: nowMs - random() * 100 * s },
          unansweredSinceMs: nowMs - random() * 60 * s,
        });
      const given = peer(
        random() < 0.1 ? { b: "active" } : { a: pick(random, states), b: pick(random, states) },
      );
      const decision = stepGate(
        {
          ...{
            node: localRecord,
            peer: given,
            path,
            observation: { a: seen(), b: seen() },
            isDisabled: false,
          },
          ...(state === undefined ? {} : { state }),
        },
        nowMs,
      );
      expect(decision.path.slot).toBeDefined();
      expect(given.slots.some(({ slot }) => slot === decision.path.slot)).toBe(true);
      ({ path, state } = decision);
    }
  });
});
