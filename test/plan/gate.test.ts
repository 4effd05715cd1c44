// The gate as a table: what is known of a peer, the time, and what follows.
import { describe, expect, test } from "bun:test";
import { closedPath, type PeerPath } from "../../src/net/path.ts";
import type { SlotState } from "../../src/net/record.ts";
import type { OwnedPeer } from "../../src/plan/claims.ts";
import { type GateDecision, type GateMemory, isProved, stepGate } from "../../src/plan/gate.ts";
import type { PeerSight, SlotSight } from "../../src/plan/sight.ts";
import { localRecord, makeRandom, pick } from "./random.ts";

const s = 1000;
/** Well after the process began: no time below is before that. */
const now = 1_000_000;

function peer(states: { a?: SlotState; b?: SlotState } = { a: "active", b: "active" }): OwnedPeer {
  const slots = (["a", "b"] as const).flatMap((slot) => {
    const state = states[slot];
    return state === undefined ? [] : [{ slot, publicKey: `key-${slot}`, port: 51820, state }];
  });
  return {
    name: "n2",
    slots,
    endpoints: ["192.0.2.2", "198.51.100.2", "203.0.113.2"],
    nodeIPs: ["192.0.2.2"],
    podCIDRs: ["10.2.0.0/24"],
  };
}

function sight(times: Partial<SlotSight>): SlotSight {
  const counters = { lastHandshakeMs: 0, rxBytes: 0, txBytes: 0 };
  return { publicKey: "key", ownKey: "own", ...counters, ...times };
}

interface Case {
  readonly peer?: OwnedPeer;
  readonly path?: Partial<PeerPath>;
  readonly memory?: Partial<GateMemory>;
  readonly sight?: PeerSight;
  readonly held?: boolean;
}

function step(given: Case, nowMs = now, node = localRecord): GateDecision {
  const since = { sinceMs: now - 3600 * s, triedAtMs: now - 3600 * s, tries: 0 };
  const silent = given.memory?.rung === undefined ? {} : { silentSinceMs: ago(100) };
  const memory = { ...since, ...silent, isOpen: given.path?.slot !== undefined, ...given.memory };
  return stepGate(
    {
      ...{ node, peer: given.peer ?? peer(), path: { ...closedPath, ...given.path } },
      ...{ memory, sight: given.sight ?? {}, held: given.held ?? false },
    },
    nowMs,
  );
}

/** What matters of a decision, in one line. */
function say({ path, news, readd }: GateDecision): string {
  const kinds = news.map((one) => ("rung" in one ? `${one.kind} ${one.rung}` : one.kind)).join(", ");
  const words = [path.slot ?? "closed", `candidate ${path.candidate}`];
  if (path.provoke.length > 0) words.push(`provoke ${path.provoke.join("")}`);
  if (path.pinned) words.push("pinned");
  if (readd !== undefined) words.push(`readd ${readd}`);
  return `${words.join(", ")}; ${kinds || "nothing new"}`;
}

const ago = (seconds: number) => now - seconds * s;
const silentA = {
  a: sight({ sentAtMs: ago(1), unansweredSinceMs: ago(31), heardAtMs: ago(131), handshakeAtMs: ago(131) }),
};

const table: [string, Case, string][] = [
  ["no key: not reached through the tunnel", { peer: peer({}) }, "closed, candidate 0; nothing new"],
  [
    "withdrawn keys are the only way back",
    { peer: peer({ a: "withdrawn", b: "withdrawn" }), path: { slot: "a" } },
    "closed, candidate 0; closed",
  ],
  [
    "waiting provokes on both slots",
    { memory: { triedAtMs: ago(9) } },
    "closed, candidate 0, provoke ab; nothing new",
  ],
  [
    "after ten seconds the next endpoint",
    { memory: { triedAtMs: ago(10) } },
    "closed, candidate 1, provoke ab; candidate",
  ],
  [
    "the last endpoint is followed by the first",
    { memory: { triedAtMs: ago(10) }, path: { candidate: 2 } },
    "closed, candidate 0, provoke ab; candidate",
  ],
  [
    "when all had their turn, a minute each",
    { memory: { triedAtMs: ago(59), tries: 3 } },
    "closed, candidate 0, provoke ab; nothing new",
  ],
  [
    "a handshake opens, on the endpoint that had it",
    { path: { candidate: 1 }, sight: { a: sight({ handshakeAtMs: ago(1) }) } },
    "a, candidate 1; opened",
  ],
  [
    "a handshake on slot b only opens b",
    { sight: { a: sight({}), b: sight({ handshakeAtMs: ago(1) }) } },
    "b, candidate 0; opened",
  ],
  [
    "an old handshake opens nothing",
    { sight: { a: sight({ handshakeAtMs: ago(151) }) }, memory: { triedAtMs: ago(1) } },
    "closed, candidate 0, provoke ab; nothing new",
  ],
  [
    "released by an operator: the handshake of before does not open it again",
    { memory: { isOpen: true }, sight: { a: sight({ handshakeAtMs: ago(1) }) } },
    "closed, candidate 0, provoke ab; nothing new",
  ],
  [
    "but the next one does",
    { memory: { releasedAtMs: ago(2) }, sight: { a: sight({ handshakeAtMs: ago(1) }) } },
    "a, candidate 0; opened",
  ],
  [
    "the ratchet: no handshake, no way back to clear text",
    { path: { slot: "a" }, sight: {} },
    "a, candidate 0; nothing new",
  ],
  [
    "silence without sending is idleness",
    { path: { slot: "a" }, sight: { a: sight({ sentAtMs: ago(16), heardAtMs: ago(900) }) } },
    "a, candidate 0; nothing new",
  ],
  [
    "sending and unanswered for 30 s is well",
    {
      path: { slot: "a" },
      sight: { a: sight({ sentAtMs: ago(0), heardAtMs: ago(50), unansweredSinceMs: ago(30) }) },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "a packet after a long silence: the peer has time to answer, and is not asked",
    {
      path: { slot: "a" },
      sight: {
        a: sight({ sentAtMs: ago(1), sentDataAtMs: ago(1), unansweredSinceMs: ago(1), heardAtMs: ago(900) }),
      },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "keepalives alone, which nobody answers, are no silence",
    { path: { slot: "a" }, sight: { a: sight({ sentAtMs: ago(1), heardAtMs: ago(900) }) } },
    "a, candidate 0; nothing new",
  ],
  [
    "silent: the recorded endpoint is pinned first",
    { path: { slot: "a", candidate: 1 }, sight: silentA },
    "a, candidate 1, provoke a, pinned; silent re-pin",
  ],
  [
    "a rung takes 15 s",
    { path: { slot: "a", pinned: true }, sight: silentA, memory: { rung: "re-pin", rungAtMs: ago(14) } },
    "a, candidate 0, pinned; nothing new",
  ],
  [
    "then the peer is added anew",
    { path: { slot: "a", pinned: true }, sight: silentA, memory: { rung: "re-pin", rungAtMs: ago(15) } },
    "a, candidate 0, provoke a, pinned, readd a; silent re-add",
  ],
  [
    "then the other slot is asked",
    { path: { slot: "a" }, sight: silentA, memory: { rung: "re-add", rungAtMs: ago(15) } },
    "a, candidate 0, provoke ab; silent other-slot",
  ],
  [
    "and taken when it answers",
    {
      path: { slot: "a" },
      sight: { ...silentA, b: sight({ handshakeAtMs: ago(1) }) },
      memory: { rung: "other-slot", rungAtMs: ago(3) },
    },
    "b, candidate 0; moved",
  ],
  [
    "the ladder begins again after a minute, with the next endpoint",
    { path: { slot: "a" }, sight: silentA, memory: { rung: "other-slot", rungAtMs: ago(60) } },
    "a, candidate 1, provoke a, pinned; silent re-pin",
  ],
  [
    "heard again: all is as before",
    {
      path: { slot: "a", pinned: true, provoke: ["a"] },
      sight: { a: sight({ sentAtMs: ago(0), heardAtMs: ago(0) }) },
      memory: { rung: "re-add", rungAtMs: ago(3) },
    },
    "a, candidate 0; answers",
  ],
  [
    "had traffic, not heard for a minute: asked",
    { path: { slot: "a" }, sight: { a: sight({ dataAtMs: ago(61), heardAtMs: ago(61) }) } },
    "a, candidate 0, provoke a; nothing new",
  ],
  [
    "no traffic for ten minutes: left alone",
    { path: { slot: "a" }, sight: { a: sight({ sentDataAtMs: ago(601), heardAtMs: ago(601) }) } },
    "a, candidate 0; nothing new",
  ],
  [
    "asked and answered: left alone again",
    {
      path: { slot: "a", provoke: ["a"] },
      sight: { a: sight({ dataAtMs: ago(70), heardAtMs: ago(1) }) },
      memory: { askedAtMs: ago(5) },
    },
    "a, candidate 0; nothing new",
  ],
  ...(
    [
      ["asked within a session: for 20 s, to see whether anything goes out", 20, 179, ", provoke a"],
      ["then it is left alone, since nobody answers within a session", 21, 179, ""],
      ["once the session is over, a handshake is asked for", 90, 181, ", provoke a"],
    ] as const
  ).map(([name, asked, handshake, provoke]): [string, Case, string] => [
    name,
    {
      path: { slot: "a" },
      sight: {
        a: sight({
          dataAtMs: ago(150),
          heardAtMs: ago(150),
          sentAtMs: ago(1),
          handshakeAtMs: ago(handshake),
        }),
      },
      memory: { askedAtMs: ago(asked) },
    },
    `a, candidate 0${provoke}; nothing new`,
  ]),
  [
    "asked with a handshake that stays unanswered: silent",
    {
      path: { slot: "a", provoke: ["a"] },
      sight: {
        a: sight({ dataAtMs: ago(90), heardAtMs: ago(90), sentAtMs: ago(1), unansweredSinceMs: ago(31) }),
      },
      memory: { askedAtMs: ago(32) },
    },
    "a, candidate 0, provoke a, pinned; silent re-pin",
  ],
  [
    "asked, and not even that counts as sent: silent",
    {
      path: { slot: "a", provoke: ["a"] },
      sight: { a: sight({ dataAtMs: ago(90), heardAtMs: ago(90) }) },
      memory: { askedAtMs: ago(21) },
    },
    "a, candidate 0, provoke a, pinned; silent re-pin",
  ],
  [
    "a draining slot is left once the other has a handshake",
    {
      peer: peer({ a: "draining", b: "active" }),
      path: { slot: "a" },
      sight: { b: sight({ handshakeAtMs: ago(2) }) },
    },
    "b, candidate 0; moved",
  ],
  [
    "and until then provokes it",
    { peer: peer({ a: "draining", b: "active" }), path: { slot: "a" } },
    "a, candidate 0, provoke b; nothing new",
  ],
  [
    "a session about to end is not moved to",
    {
      peer: peer({ a: "draining", b: "active" }),
      path: { slot: "a" },
      sight: { b: sight({ handshakeAtMs: ago(150) }) },
    },
    "a, candidate 0, provoke b; nothing new",
  ],
  [
    "a withdrawn slot is left at once, handshake or not",
    { peer: peer({ a: "withdrawn", b: "active" }), path: { slot: "a" } },
    "b, candidate 0; moved",
  ],
  [
    "a path is not moved without need",
    { path: { slot: "b" }, sight: { a: sight({ handshakeAtMs: ago(1) }) } },
    "b, candidate 0; nothing new",
  ],
  [
    "mode off: the gate closes, handshake or not",
    { held: true, path: { slot: "a", candidate: 1 }, sight: { a: sight({ handshakeAtMs: ago(1) }) } },
    "closed, candidate 0; closed",
  ],
  [
    "mode off provokes, too",
    { held: true, memory: { triedAtMs: ago(1) } },
    "closed, candidate 0, provoke ab; nothing new",
  ],
  [
    "mode off tries the next endpoint, too",
    { held: true, memory: { triedAtMs: ago(10) } },
    "closed, candidate 1, provoke ab; candidate",
  ],
  [
    "mode off: a handshake on either slot is enough, opens nothing, and keeps its endpoint",
    {
      held: true,
      path: { candidate: 1, provoke: ["a", "b"] },
      sight: { b: sight({ handshakeAtMs: ago(599) }) },
    },
    "closed, candidate 1; nothing new",
  ],
  [
    "mode off: after ten minutes it is proved again",
    { held: true, memory: { triedAtMs: ago(1) }, sight: { b: sight({ handshakeAtMs: ago(600) }) } },
    "closed, candidate 0, provoke ab; nothing new",
  ],
];

describe("gate", () => {
  test.each(table)("%s", (_name, given, expected) => {
    expect(say(step(given))).toBe(expected);
  });

  test("what mode off has proved lasts until it is proved again", () => {
    const seen = (seconds: number) => ({ b: sight({ handshakeAtMs: ago(seconds) }) });
    expect([599, 600, 899, 900].map((seconds) => isProved(seen(seconds), now))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(isProved({}, now)).toBe(false);
  });

  test("mode off and back: a handshake of meanwhile opens the gate again", () => {
    const shaken = { a: sight({ handshakeAtMs: ago(1) }) };
    const off = step({ held: true, path: { slot: "a" }, sight: shaken });
    expect(off.news).toEqual([{ kind: "closed", why: "off" }]);
    const on = step({ memory: off.memory, sight: shaken }, now + s);
    expect(say(on)).toBe("a, candidate 0; opened");
  });

  test("this node's own draining slot is left, too", () => {
    const slots = localRecord.slots.map((slot) =>
      slot.slot === "a" ? { ...slot, state: "draining" as const } : slot,
    );
    const decision = step({ path: { slot: "a" }, sight: { b: sight({ handshakeAtMs: ago(1) }) } }, now, {
      ...localRecord,
      slots,
    });
    expect(say(decision)).toBe("b, candidate 0; moved");
  });

  test("where both sides drain another slot, both choose slot b: rotations that meet wait in one order", () => {
    const own = localRecord.slots.map((slot) =>
      slot.slot === "b" ? { ...slot, state: "draining" as const } : slot,
    );
    const given = {
      peer: peer({ a: "draining", b: "active" }),
      sight: { b: sight({ handshakeAtMs: ago(1) }) },
    };
    const node = { ...localRecord, slots: own };
    expect(say(step({ ...given, path: { slot: "a" } }, now, node))).toBe("b, candidate 0; moved");
    expect(say(step({ ...given, path: { slot: "b" } }, now, node))).toBe("b, candidate 0; nothing new");
  });

  test("once open it never closes, whatever is seen, while the record has a key", () => {
    const random = makeRandom(3);
    const states: SlotState[] = ["active", "draining"];
    let path: PeerPath = { ...closedPath, slot: "a" };
    let memory: GateMemory | undefined;
    for (let i = 0; i < 20_000; i++) {
      const nowMs = now + i * 1700;
      const time = () => (random() < 0.3 ? {} : { handshakeAtMs: nowMs - random() * 400 * s });
      const seen = (): SlotSight =>
        sight({
          ...time(),
          ...{ sentAtMs: nowMs, heardAtMs: nowMs - random() * 100 * s },
          unansweredSinceMs: nowMs - random() * 60 * s,
        });
      const given = peer(
        random() < 0.1 ? { b: "active" } : { a: pick(random, states), b: pick(random, states) },
      );
      const decision = stepGate(
        {
          ...{ node: localRecord, peer: given, path, sight: { a: seen(), b: seen() }, held: false },
          ...(memory === undefined ? {} : { memory }),
        },
        nowMs,
      );
      expect(decision.path.slot).toBeDefined();
      expect(given.slots.some(({ slot }) => slot === decision.path.slot)).toBe(true);
      ({ path, memory } = decision);
    }
  });
});
