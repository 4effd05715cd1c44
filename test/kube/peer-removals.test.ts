// When peers leave whose objects are gone: late enough for what comes back.
import { expect, test } from "bun:test";
import { massRemovalWaitMs, planPeerRemovals, removalWaitMs } from "../../src/kube/peer-removals.ts";
import type { Absences } from "../../src/plan/absence.ts";

/** Plays a story: at each time the objects that are there; returns when each peer has left. */
function play(
  peers: readonly string[],
  story: readonly (readonly [atMs: number, there: readonly string[]])[],
) {
  const known = new Set(peers);
  const left: Record<string, number> = {};
  const doubts: number[] = [];
  let absences: Absences = new Map();
  let there: readonly string[] = peers;
  const end = story.at(-1)![0] + 2 * massRemovalWaitMs;
  for (let nowMs = 0; nowMs <= end; nowMs += 1000) {
    there = story.findLast(([atMs]) => atMs <= nowMs)?.[1] ?? there;
    const plan = planPeerRemovals({ known, isPresent: (name) => there.includes(name), absences, nowMs });
    absences = plan.absences;
    if (plan.doubt !== undefined) doubts.push(nowMs);
    for (const name of plan.remove) {
      known.delete(name);
      left[name] = nowMs;
    }
    for (const name of there) known.add(name);
    // It says when to ask again, and never too late.
    if (absences.size > plan.remove.length) expect(plan.wakeInMs).toBeGreaterThan(0);
    else expect(plan.wakeInMs).toBeUndefined();
  }
  return { left, doubts };
}

const four = ["a", "b", "c", "d"];

test.each([
  ["nobody goes", four, [[0, four]], {}],
  ["one goes", four, [[5000, ["a", "b", "c"]]], { d: 5000 + removalWaitMs }],
  ["the only one goes", ["a"], [[5000, []]], { a: 5000 + removalWaitMs }],
  ["half go", four, [[0, ["a", "b"]]], { c: removalWaitMs, d: removalWaitMs }],
  ["most go", four, [[0, ["a"]]], { b: massRemovalWaitMs, c: massRemovalWaitMs, d: massRemovalWaitMs }],
  [
    "all go",
    four,
    [[0, []]],
    { a: massRemovalWaitMs, b: massRemovalWaitMs, c: massRemovalWaitMs, d: massRemovalWaitMs },
  ],
  [
    "one is deleted by mistake, and its node writes it again",
    four,
    [
      [1000, ["a", "b", "c"]],
      [1000 + removalWaitMs - 1000, four],
    ],
    {},
  ],
  [
    "the resource is deleted and made again",
    four,
    [
      [0, []],
      [20_000, ["a"]],
      [60_000, ["a", "b", "c"]],
      [200_000, four],
    ],
    {},
  ],
  [
    "all go, and one does not come back",
    four,
    [
      [0, []],
      [20_000, ["a", "b", "c"]],
    ],
    { d: massRemovalWaitMs },
  ],
] as const)("%s", (_, peers, story, expected) => {
  expect(play(peers, story).left).toEqual(expected as Record<string, number>);
});

test("if most are gone, that is reported for as long as it is doubted", () => {
  expect(play(four, [[0, []]]).doubts).toHaveLength(massRemovalWaitMs / 1000);
  expect(play(four, [[0, ["a", "b"]]]).doubts).toEqual([]);
  const { doubt } = planPeerRemovals({
    known: new Set(four),
    isPresent: () => false,
    absences: new Map(),
    nowMs: 0,
  });
  expect(doubt).toContain("no WireGuardNode, or no Node, any more for 4 of 4 peers");
});
