// Silence as the gate sees it, as a table: what is idle, what is asked, what the recovery steps try, what ends it.
import { expect, test } from "bun:test";
import { ago, type Case, observation, say, step } from "./gates.ts";

const silentA = {
  a: observation({
    sentAtMs: ago(1),
    unansweredSinceMs: ago(31),
    heardAtMs: ago(131),
    handshakeAtMs: ago(131),
  }),
};
const table: [string, Case, string][] = [
  [
    "silence without sending is idleness",
    { path: { slot: "a" }, observed: { a: observation({ sentAtMs: ago(16), heardAtMs: ago(900) }) } },
    "a, candidate 0; nothing new",
  ],
  [
    "sending and unanswered for 30 s is well",
    {
      path: { slot: "a" },
      observed: { a: observation({ sentAtMs: ago(0), heardAtMs: ago(50), unansweredSinceMs: ago(30) }) },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "a packet after a long silence: the peer has time to answer, and is not asked",
    {
      path: { slot: "a" },
      observed: {
        a: observation({
          sentAtMs: ago(1),
          sentDataAtMs: ago(1),
          unansweredSinceMs: ago(1),
          heardAtMs: ago(900),
        }),
      },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "keepalives alone, which nobody answers, are no silence",
    { path: { slot: "a" }, observed: { a: observation({ sentAtMs: ago(1), heardAtMs: ago(900) }) } },
    "a, candidate 0; nothing new",
  ],
  [
    "silent: the recorded endpoint is pinned first",
    { path: { slot: "a", candidate: 1 }, observed: silentA },
    "a, candidate 1, initiate a, pinned; silent reset-endpoint",
  ],
  [
    "a recovery step takes 15 s",
    {
      path: { slot: "a", pinned: true },
      observed: silentA,
      silent: { step: "reset-endpoint", stepAtMs: ago(14) },
    },
    "a, candidate 0, pinned; nothing new",
  ],
  [
    "then the peer is added anew",
    {
      path: { slot: "a", pinned: true },
      observed: silentA,
      silent: { step: "reset-endpoint", stepAtMs: ago(15) },
    },
    "a, candidate 0, initiate a, pinned, readd a; silent re-add",
  ],
  [
    "then the other slot is asked",
    { path: { slot: "a" }, observed: silentA, silent: { step: "re-add", stepAtMs: ago(15) } },
    "a, candidate 0, initiate ab; silent other-slot",
  ],
  [
    "and taken when it answers",
    {
      path: { slot: "a" },
      observed: { ...silentA, b: observation({ handshakeAtMs: ago(1) }) },
      silent: { step: "other-slot", stepAtMs: ago(3) },
    },
    "b, candidate 0; moved, answers",
  ],
  [
    "the other slot's handshake of before the silence proves nothing: its session is made anew",
    {
      path: { slot: "a" },
      observed: { ...silentA, b: observation({ handshakeAtMs: ago(101) }) },
      silent: { step: "re-add", stepAtMs: ago(15) },
    },
    "a, candidate 0, initiate ab, readd b; silent other-slot",
  ],
  [
    "and is not moved to, however fresh it is",
    {
      path: { slot: "a", initiate: ["a", "b"] },
      observed: { ...silentA, b: observation({ handshakeAtMs: ago(101) }) },
      silent: { step: "other-slot", stepAtMs: ago(3) },
    },
    "a, candidate 0, initiate ab; nothing new",
  ],
  [
    "at the first recovery step neither: the silence began when nothing was answered, before it was found",
    {
      path: { slot: "a" },
      observed: { ...silentA, b: observation({ handshakeAtMs: ago(32) }) },
    },
    "a, candidate 0, initiate a, pinned; silent reset-endpoint",
  ],
  [
    "the recovery steps begin again after a minute, with the next endpoint",
    { path: { slot: "a" }, observed: silentA, silent: { step: "other-slot", stepAtMs: ago(60) } },
    "a, candidate 1, initiate a, pinned; silent reset-endpoint",
  ],
  [
    "a handshake: all is as before",
    {
      path: { slot: "a", pinned: true, initiate: ["a"] },
      observed: { a: observation({ sentAtMs: ago(0), heardAtMs: ago(0), handshakeAtMs: ago(0) }) },
      silent: { step: "re-add", stepAtMs: ago(3) },
    },
    "a, candidate 0; answers",
  ],
  [
    "what comes in without a handshake is no answer: it is heard, and need not hear us",
    {
      path: { slot: "a", pinned: true, initiate: ["a"] },
      observed: {
        a: observation({ sentAtMs: ago(0), heardAtMs: ago(0), dataAtMs: ago(0), handshakeAtMs: ago(131) }),
      },
      silent: { step: "reset-endpoint", stepAtMs: ago(3) },
    },
    "a, candidate 0, initiate a, pinned; nothing new",
  ],
  [
    "nothing of what enters this node's device leaves it: silent, even if packets of the peer arrive",
    {
      path: { slot: "a" },
      observed: { a: observation({ dataAtMs: ago(1), heardAtMs: ago(1), handshakeAtMs: ago(50) }) },
      stalledSinceMs: { a: ago(31) },
    },
    "a, candidate 0, initiate a, pinned; silent reset-endpoint",
  ],
  [
    "nothing leaves the other slot's device: the peer is not concerned",
    {
      path: { slot: "a" },
      observed: { a: observation({ dataAtMs: ago(1), heardAtMs: ago(1), handshakeAtMs: ago(50) }) },
      stalledSinceMs: { b: ago(31) },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "nothing leaves this node's device, and the peer has had no traffic: it is not concerned",
    {
      path: { slot: "a" },
      observed: { a: observation({ handshakeAtMs: ago(50) }) },
      stalledSinceMs: { a: ago(31) },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "had traffic, not heard for a minute: asked",
    { path: { slot: "a" }, observed: { a: observation({ dataAtMs: ago(61), heardAtMs: ago(61) }) } },
    "a, candidate 0, initiate a; nothing new",
  ],
  [
    "no traffic for ten minutes: left alone",
    { path: { slot: "a" }, observed: { a: observation({ sentDataAtMs: ago(601), heardAtMs: ago(601) }) } },
    "a, candidate 0; nothing new",
  ],
  [
    "asked and answered: left alone again",
    {
      path: { slot: "a", initiate: ["a"] },
      observed: { a: observation({ dataAtMs: ago(70), heardAtMs: ago(1) }) },
      open: { askedAtMs: ago(5) },
    },
    "a, candidate 0; nothing new",
  ],
  ...(
    [
      ["asked within a session: for 20 s, to see whether anything goes out", 20, 179, ", initiate a"],
      ["then it is left alone, since nobody answers within a session", 21, 179, ""],
      ["once the session is over, a handshake is asked for", 90, 181, ", initiate a"],
    ] as const
  ).map(([name, asked, handshake, initiate]): [string, Case, string] => [
    name,
    {
      path: { slot: "a" },
      observed: {
        a: observation({
          dataAtMs: ago(150),
          heardAtMs: ago(150),
          sentAtMs: ago(1),
          handshakeAtMs: ago(handshake),
        }),
      },
      open: { askedAtMs: ago(asked) },
    },
    `a, candidate 0${initiate}; nothing new`,
  ]),
  [
    "asked with a handshake that stays unanswered: silent",
    {
      path: { slot: "a", initiate: ["a"] },
      observed: {
        a: observation({
          dataAtMs: ago(90),
          heardAtMs: ago(90),
          sentAtMs: ago(1),
          unansweredSinceMs: ago(31),
        }),
      },
      open: { askedAtMs: ago(32) },
    },
    "a, candidate 0, initiate a, pinned; silent reset-endpoint",
  ],
  [
    "asked, and not even that counts as sent: silent",
    {
      path: { slot: "a", initiate: ["a"] },
      observed: { a: observation({ dataAtMs: ago(90), heardAtMs: ago(90) }) },
      open: { askedAtMs: ago(21) },
    },
    "a, candidate 0, initiate a, pinned; silent reset-endpoint",
  ],
];

const wantedTable: [string, Case, string][] = [
  [
    "asked by the peer to begin a handshake: put on the device anew, on both slots",
    { path: { slot: "a" }, isAsked: true, observed: { a: observation({ handshakeAtMs: ago(30) }) } },
    "a, candidate 0, initiate ab, readd a; nothing new",
  ],
  [
    "still asked, with sessions: left alone",
    {
      ...{ path: { slot: "a" }, isAsked: true, open: { wasAsked: true } },
      observed: { a: observation({ handshakeAtMs: ago(119) }), b: observation({ handshakeAtMs: ago(119) }) },
    },
    "a, candidate 0; nothing new",
  ],
  [
    "still asked, and a session gets old: renewed",
    {
      ...{ path: { slot: "a" }, isAsked: true, open: { wasAsked: true } },
      observed: { a: observation({ handshakeAtMs: ago(121) }), b: observation({ handshakeAtMs: ago(30) }) },
    },
    "a, candidate 0, initiate a; nothing new",
  ],
];

wantedTable.push([
  "wanted to see whether it is there: renewed when it gets old, and not put on the device anew",
  { path: { slot: "a" }, isWanted: true, observed: { a: observation({ handshakeAtMs: ago(121) }) } },
  "a, candidate 0, initiate ab; nothing new",
]);

test.each(wantedTable)("%s", (_name, given, expected) => {
  expect(say(step(given))).toBe(expected);
});

test.each(table)("%s", (_name, given, expected) => {
  expect(say(step(given))).toBe(expected);
});
