// The account of a soak run's packets: which losses its own deeds excuse.
import { expect, test } from "bun:test";
import { accountLosses, accountPlaintext, type Loss, type Window } from "./account.ts";

const flap: Window = { kind: "flap-link", node: 1, fromMs: 10_000, toMs: 11_000 };
const loss = (change: Partial<Loss> = {}): Loss => ({
  ...{ flow: "a -> b", nodes: [0, 1], packets: 5, fromMs: 10_100, toMs: 10_900 },
  ...change,
});

test.each([
  ["within the window", loss(), [flap]],
  ["until a little after the window", loss({ toMs: 13_999 }), [flap]],
  ["towards the node", loss({ nodes: [1, 2] }), [flap]],
  [
    "within two windows that meet, of both nodes",
    loss({ toMs: 17_000 }),
    [{ ...flap, node: 0, fromMs: 13_000, toMs: 15_000 }, flap],
  ],
] as const)("accountLosses excuses a loss %s of a link that is cut", (_, one, windows) => {
  expect(accountLosses([one], windows)).toEqual({ excusedPackets: 5, unexcused: [] });
});

test.each([
  ["before the window", loss({ fromMs: 9_000 }), [flap]],
  ["long after the window", loss({ toMs: 14_001 }), [flap]],
  ["between two other nodes", loss({ nodes: [0, 2] }), [flap]],
  ["between two windows", loss({ toMs: 21_000 }), [flap, { ...flap, fromMs: 20_000, toMs: 22_000 }]],
  ["while an agent is away", loss(), [{ ...flap, kind: "kill-agent" }]],
  ["while routes are away", loss(), [{ ...flap, kind: "damage" }]],
  ["without a window", loss(), []],
] as const)("accountLosses does not excuse a loss %s", (_, one, windows) => {
  expect(accountLosses([one], windows)).toEqual({ excusedPackets: 0, unexcused: [one] });
});

test("accountPlaintext excuses packets while something is damaged, and no others", () => {
  const damage: Window = { ...flap, kind: "damage" };
  expect(accountPlaintext([9_000, 10_500, 22_999, 23_001], [damage])).toEqual([9_000, 23_001]);
  expect(accountPlaintext([10_500], [flap])).toEqual([10_500]);
});
