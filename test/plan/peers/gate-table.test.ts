// The gate's transition table, row by row: a peer and a time for which the row applies, and what follows.
import { describe, expect, test } from "bun:test";
import { transitions } from "../../../src/plan/peers/gate.ts";
import { conditions } from "../../../src/plan/peers/gate-conditions.ts";
import { effects } from "../../../src/plan/peers/gate-effects.ts";
import { keyless } from "../../../src/plan/peers/gate-state.ts";
import { ago, type Case, observation, peer, run, say } from "./gates.ts";

const none = peer({});
const refused = { ...none, refusedSlots: ["a", "b"] as const };
const drainingA = peer({ a: "draining", b: "active" });
const a = { slot: "a" } as const;
const shaken = observation({ handshakeAtMs: ago(1) });
const unanswered = observation({ sentAtMs: ago(1), unansweredSinceMs: ago(31), heardAtMs: ago(131) });
const untried = { endpointSinceMs: ago(1) };
const idle = observation({ dataAtMs: ago(61), heardAtMs: ago(61) });

/** By state, condition, effect and next state, as `show` writes a row. */
const table: [string, Case, string][] = [
  [
    "keyless: keyless -> closeKeyless, keyless",
    { peer: none, state: keyless(ago(9)) },
    "closed, candidate 0; nothing new",
  ],
  ["waiting: keyless -> closeKeyless, keyless", { peer: none }, "closed, candidate 0; nothing new"],
  ["open: keyless -> closeKeyless, keyless", { peer: none, path: a }, "closed, candidate 0; closed"],
  [
    "silent: keyless -> closeKeyless, keyless",
    { peer: none, path: a, silent: {} },
    "closed, candidate 0; closed",
  ],
  [
    "keyless: otherwise -> expectHandshake, waiting",
    { state: keyless(ago(1)) },
    "closed, candidate 0, initiate ab; nothing new, soon",
  ],
  ["waiting: pathOpen -> adoptPath, open", { path: a, waiting: {} }, "a, candidate 0; nothing new"],
  [
    "open: pathReleased -> expectNewHandshake, waiting",
    { open: {}, observed: { a: shaken } },
    "closed, candidate 0, initiate ab; nothing new, soon",
  ],
  [
    "silent: pathReleased -> expectNewHandshake, waiting",
    { silent: {}, observed: { a: shaken } },
    "closed, candidate 0, initiate ab; nothing new, soon",
  ],
  ["open: disabled -> closeDisabled, waiting", { isDisabled: true, path: a }, "closed, candidate 0; closed"],
  [
    "silent: disabled -> closeDisabled, waiting",
    { isDisabled: true, path: a, silent: {} },
    "closed, candidate 0; closed",
  ],
  ["waiting: keysRefused -> restClosed, waiting", { peer: refused }, "closed, candidate 0; nothing new"],
  ["open: keysRefused -> restOpen, open", { peer: refused, path: a }, "a, candidate 0; nothing new"],
  [
    "silent: keysRefused -> restOpen, open",
    { peer: refused, path: { slot: "a", initiate: ["a"], pinned: true }, silent: {} },
    "a, candidate 0; nothing new",
  ],
  [
    "waiting: provenWhileDisabled -> restClosed, waiting",
    { isDisabled: true, observed: { b: observation({ handshakeAtMs: ago(599) }) } },
    "closed, candidate 0; nothing new",
  ],
  ["waiting: handshake -> openPath, open", { observed: { b: shaken } }, "b, candidate 0; opened"],
  [
    "waiting: endpointDue -> nextEndpoint, waiting",
    { waiting: { endpointSinceMs: ago(10) } },
    "closed, candidate 1, initiate ab; candidate",
  ],
  [
    "waiting: proofAwaited -> awaitProof, waiting",
    { waiting: untried, hasUnprovenIPs: true, observed: { a: shaken } },
    "closed, candidate 0, initiate ab; nothing new, soon",
  ],
  [
    "waiting: otherwise -> initiate, waiting",
    { waiting: untried },
    "closed, candidate 0, initiate ab; nothing new",
  ],
  [
    "open: slotLost -> leaveSlot, open",
    { peer: peer({ a: "withdrawn", b: "active" }), path: a },
    "b, candidate 0; moved",
  ],
  [
    "silent: slotLost -> leaveSlot, open",
    { peer: peer({ a: "withdrawn", b: "active" }), path: a, silent: {} },
    "b, candidate 0; moved",
  ],
  [
    "open: unresponsive -> startRecovery, silent",
    { path: a, observed: { a: unanswered } },
    "a, candidate 0, initiate a, pinned; silent reset-endpoint, soon",
  ],
  [
    "silent: otherSlotAnswers -> switchSlot, open",
    { path: a, silent: {}, observed: { b: shaken } },
    "b, candidate 0; moved, answers",
  ],
  [
    "silent: stepDue -> continueRecovery, silent",
    { path: a, silent: { stepAtMs: ago(15) } },
    "a, candidate 0, initiate a, readd a; silent re-add, soon",
  ],
  ["silent: unanswered -> none, silent", { path: a, silent: {} }, "a, candidate 0; nothing new, soon"],
  [
    "open: drainable -> drain, open",
    { peer: drainingA, path: a, observed: { b: shaken } },
    "b, candidate 0; moved",
  ],
  [
    "silent: drainable -> drain, open",
    { peer: drainingA, path: a, silent: {}, observed: { a: shaken, b: shaken } },
    "b, candidate 0; moved",
  ],
  [
    "silent: otherwise -> endRecovery, open",
    { path: a, silent: {}, observed: { a: shaken } },
    "a, candidate 0; answers",
  ],
  [
    "open: draining -> prepareMove, open",
    { peer: drainingA, path: a },
    "a, candidate 0, initiate b; nothing new, soon",
  ],
  [
    "open: newlyAsked -> answerRequest, open",
    { path: a, isAsked: true, observed: { a: shaken } },
    "a, candidate 0, initiate ab, readd a; nothing new",
  ],
  [
    "open: sessionWanted -> renewSessions, open",
    { path: a, isWanted: true, observed: { a: shaken } },
    "a, candidate 0, initiate b; nothing new",
  ],
  [
    "open: overdue -> ask, open",
    { path: a, observed: { a: idle } },
    "a, candidate 0, initiate a; nothing new",
  ],
  ["open: otherwise -> carry, open", { path: a, observed: { a: shaken } }, "a, candidate 0; nothing new"],
];

/** The rows as a case names them: one for each state that a row applies to. */
const rows = transitions.flatMap((row) =>
  row.from.map((from) => `${from}: ${row.when} -> ${row.effect}, ${row.to}`),
);

function namesOf<T extends object>(functions: T): Set<keyof T> {
  return new Set(Object.keys(functions) as (keyof T)[]);
}

describe("gate table", () => {
  test.each(table)("%s", (name, given, expected) => {
    const { decision, taken } = run(given);
    const line = `${say(decision)}${decision.hurry ? ", soon" : ""}`;
    expect(line).toBe(expected);
    const [state] = name.split(": ") as [string];
    const shown = taken.map(({ when, effect, to }) => `${when} -> ${effect}, ${to}`);
    expect(shown.map((one) => `${state}: ${one}`)).toContain(name);
    expect<string | undefined>(decision.state.kind).toBe(taken.at(-1)?.to);
  });

  test("each row has exactly one case for each of its states, in the table's order", () => {
    expect(table.map(([name]) => name)).toEqual(rows);
  });

  test("each condition and each effect has a row", () => {
    expect(new Set(transitions.map(({ when }) => when))).toEqual(namesOf(conditions));
    expect(new Set(transitions.map(({ effect }) => effect))).toEqual(namesOf(effects));
  });

  test("a row that goes on leads to a state that a row below it always decides", () => {
    for (const [i, { goesOn, to }] of transitions.entries()) {
      const below = transitions.slice(i + 1).filter(({ from }) => from.includes(to));
      if (goesOn) expect(below.some((row) => row.when === "otherwise" && !row.goesOn)).toBe(true);
    }
  });

  test("the ratchet: only the peer's own record, an operator and mode off lead from an open path to a closed one", () => {
    const closing = transitions.filter(
      ({ from, to }) =>
        from.some((state) => state === "open" || state === "silent") &&
        (to === "keyless" || to === "waiting"),
    );
    expect(closing.map(({ when }) => when)).toEqual(["keyless", "pathReleased", "disabled"]);
  });
});
