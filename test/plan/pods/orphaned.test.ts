// When a pod that nobody ends is released: stories of what is seen of namespaces, look
// by look, and what must never be released whatever time passes.
import { describe, expect, test } from "bun:test";
import type { Absences } from "../../../src/plan/absence.ts";
import { type NetnsObservation, planOrphaned, type SeenAttachment } from "../../../src/plan/pods/orphaned.ts";

const minute = 60_000;
const waitMs = 5 * minute;
const day = 24 * 60 * minute;
const directory = "/run/netns";

/** Name -> from which minute on its namespace is seen so; at first it is there. Names are in the order of their making. */
type Story = Readonly<Record<string, readonly (readonly [fromMinute: number, netns: NetnsObservation])[]>>;

interface Played {
  /** By name, the minute of its release. */
  readonly released: Readonly<Record<string, number>>;
  readonly doubts: readonly string[];
}

/** Looks once a minute, for a day. */
function play(story: Story, directories: Readonly<Record<string, string>> = {}): Played {
  const there = new Set(Object.keys(story));
  const released: Record<string, number> = {};
  const doubts = new Set<string>();
  let absences: Absences = new Map();
  for (let nowMs = 0; nowMs <= day; nowMs += minute) {
    const seen = [...there].map((key): SeenAttachment => {
      const createdAtMs = Object.keys(story).indexOf(key);
      const netns = story[key]!.findLast(([from]) => from * minute <= nowMs)?.[1] ?? "namespace";
      return { key, directory: directories[key] ?? directory, createdAtMs, netns };
    });
    const plan = planOrphaned({ seen, absences, waitMs, nowMs });
    absences = plan.absences;
    if (plan.doubt !== undefined) doubts.add(plan.doubt);
    for (const key of plan.release) {
      there.delete(key);
      released[key] = nowMs / minute;
    }
  }
  return { released, doubts: [...doubts] };
}

const stays: Story[string] = [];

test.each([
  ["all are there", { a: stays, b: stays }, {}],
  ["one goes, beside another", { a: [[10, "absent"]], b: stays }, { a: 15 }],
  ["it was gone when the agent started", { a: [[0, "absent"]], b: stays }, { a: 5 }],
  [
    "one goes, comes back and goes again: the time begins anew",
    {
      a: [
        [10, "absent"],
        [14, "namespace"],
        [15, "absent"],
      ],
      b: stays,
    },
    { a: 20 },
  ],
  [
    "it is not to be seen for a moment: the time begins anew",
    {
      a: [
        [10, "absent"],
        [14, "unknown"],
        [15, "absent"],
      ],
      b: stays,
    },
    { a: 20 },
  ],
  ["most go, one stays", { a: [[3, "absent"]], b: [[3, "absent"]], c: stays }, { a: 8, b: 8 }],
  ["the only one goes", { a: [[3, "absent"]] }, { a: 63 }],
  ["all go", { a: [[3, "absent"]], b: [[4, "absent"]] }, { a: 63, b: 64 }],
  [
    "all go, and one comes back",
    {
      a: [[3, "absent"]],
      b: [
        [3, "absent"],
        [20, "namespace"],
      ],
    },
    { a: 20 },
  ],
  ["its directory is not shown", { a: [[3, "unknown"]], b: stays }, {}],
  ["a file is left of it, and a later one is there", { a: [[3, "file"]], b: stays }, { a: 8 }],
  ["a file is left of it, and only an earlier one is there", { a: stays, b: [[3, "file"]] }, {}],
  ["mounts are not shown: all are files", { a: [[0, "file"]], b: [[0, "file"]] }, {}],
  [
    "a file is left of it, and the later one goes too",
    { a: [[3, "file"]], b: [[6, "absent"]] },
    // Its absence is known only as long as its witness is there.
    { b: 66 },
  ],
] as const)("%s", (_, story, expected) => {
  expect(play(story as Story).released).toEqual(expected as Record<string, number>);
});

test("what is seen in one directory says nothing of another", () => {
  const elsewhere = { b: "/var/run/other" };
  expect(play({ a: [[0, "absent"]], b: stays }, elsewhere).released).toEqual({ a: 60 });
  expect(play({ a: [[0, "file"]], b: stays }, elsewhere).released).toEqual({});
});

describe("doubt", () => {
  test("is said once the time is over in which one alone would have been released", () => {
    const { doubts } = play({ a: [[3, "absent"]], b: [[3, "absent"]] });
    expect(doubts).toEqual([
      "The network namespaces of all pods in /run/netns are gone, and no DEL came for 2 attachments: was the runtime's state wiped, or is the directory not the node's here? They are kept until nothing has come back for 1h.",
    ]);
  });

  test("is not reported of one that goes beside others, nor of a short absence", () => {
    expect(play({ a: [[3, "absent"]], b: stays }).doubts).toEqual([]);
    expect(
      play({
        a: [
          [3, "absent"],
          [7, "namespace"],
        ],
      }).doubts,
    ).toEqual([]);
  });
});

test("one pass is never enough, however late it is", () => {
  const seen: SeenAttachment[] = [
    { key: "a", directory, createdAtMs: 0, netns: "absent" },
    { key: "b", directory, createdAtMs: 1, netns: "namespace" },
  ];
  const first = planOrphaned({ seen, absences: new Map(), waitMs, nowMs: 1000 * day });
  expect(first.release).toEqual([]);
  const { absences } = first;
  expect(planOrphaned({ seen, absences, waitMs, nowMs: 1000 * day + waitMs }).release).toEqual(["a"]);
  // The same container, attached anew.
  const anew = seen.map((one) => ({ ...one, key: `${one.key}2` }));
  expect(planOrphaned({ seen: anew, absences, waitMs, nowMs: 1000 * day + waitMs }).release).toEqual([]);
});
