// The guard against mass disappearance: what is missing, by time, and when its absence is believed.
import { expect, test } from "bun:test";
import { type Absences, planAbsences } from "../../src/plan/absence.ts";

/** From a time on: the names that are missing, with the delay for each. */
type Story = readonly (readonly [fromMs: number, missing: Readonly<Record<string, number>>])[];

/** Plans every 10 ms for a second; what is believed once is gone for good. */
function play(story: Story) {
  const believedAtMs: Record<string, number> = {};
  const wakes: (number | undefined)[] = [];
  let absences: Absences = new Map();
  for (let nowMs = 0; nowMs <= 1000; nowMs += 10) {
    const missing = story.findLast(([fromMs]) => fromMs <= nowMs)?.[1] ?? {};
    const left = Object.entries(missing).filter(([name]) => !(name in believedAtMs));
    const plan = planAbsences(new Map(left), absences, nowMs);
    absences = plan.absences;
    wakes.push(plan.wakeInMs);
    for (const name of plan.believed) believedAtMs[name] = nowMs;
  }
  return { believedAtMs, wakes };
}

const never = Number.POSITIVE_INFINITY;

test.each([
  ["nothing is missing", [[0, {}]], {}],
  ["a name without a delay is believed at once", [[50, { a: 0 }]], { a: 50 }],
  ["a name is believed after its delay", [[50, { a: 100 }]], { a: 150 }],
  ["each name has its own delay", [[0, { a: 100, b: 300 }]], { a: 100, b: 300 }],
  [
    "an absence that is interrupted begins again",
    [
      [0, { a: 100 }],
      [90, {}],
      [200, { a: 100 }],
    ],
    { a: 300 },
  ],
  [
    "a delay that grows counts from the beginning of the absence",
    [
      [0, { a: 100 }],
      [50, { a: 400 }],
    ],
    { a: 400 },
  ],
  [
    "a delay that shrinks below the time that has passed is over",
    [
      [0, { a: 900 }],
      [200, { a: 100 }],
    ],
    { a: 200 },
  ],
  ["a name that is doubted for good is never believed", [[0, { a: never }]], {}],
  [
    "a name that was doubted is believed once it is not any more",
    [
      [0, { a: never, b: never }],
      [500, { a: 0 }],
    ],
    { a: 500 },
  ],
] as const satisfies readonly (readonly [string, Story, Record<string, number>])[])(
  "%s",
  (_, story, expected) => {
    expect(play(story).believedAtMs).toEqual(expected as Record<string, number>);
  },
);

test("the next plan is asked for when the first delay ends, and for no delay that never ends", () => {
  expect(play([[0, { a: 100, b: 300, c: never }]]).wakes.slice(0, 4)).toEqual([100, 90, 80, 70]);
  expect(new Set(play([[0, { a: never }]]).wakes)).toEqual(new Set([undefined]));
});

test("what is believed stays missing, so that it is believed in the next plan too", () => {
  const missing = new Map([["a", 100]]);
  const { absences } = planAbsences(missing, new Map(), 0);
  const late = planAbsences(missing, absences, 100);
  expect(planAbsences(missing, late.absences, 101).believed).toEqual(["a"]);
});
