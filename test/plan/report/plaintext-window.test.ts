// Quiet, as a sequence of looks at the counters.
import { expect, test } from "bun:test";
import { followPlaintext, type PlaintextWindow } from "../../../src/plan/report/plaintext-window.ts";

/** One pass a second: packets in plaintext by peer; what is known afterwards. */
function looks(
  ...all: readonly Record<string, number>[]
): Pick<PlaintextWindow, "sinceMs" | "peers"> | undefined {
  let quiet: PlaintextWindow | undefined;
  for (const [at, sums] of all.entries()) {
    const counted = Object.entries(sums).map(
      ([peer, n], i) =>
        [peer, i % 2 === 0 ? { inPackets: n, outPackets: 0 } : { inPackets: 0, outPackets: n }] as const,
    );
    quiet = followPlaintext(quiet, new Map(counted), at * 1000);
  }
  return quiet && { sinceMs: quiet.sinceMs, peers: quiet.peers };
}

const cases: [string, Record<string, number>[], ReturnType<typeof looks>][] = [
  ["nothing counts: nothing is known", [{}], undefined],
  ["what was counted before the first pass may be old", [{ a: 5 }, { a: 5 }], { sinceMs: 0, peers: [] }],
  [
    "a packet ends it",
    [
      { a: 5, b: 0 },
      { a: 5, b: 1 },
    ],
    { sinceMs: 1000, peers: ["b"] },
  ],
  ["and it begins anew", [{ a: 0 }, { a: 1 }, { a: 1 }, { a: 1 }], { sinceMs: 1000, peers: ["a"] }],
  ["a table made anew is no packet", [{ a: 5 }, { a: 0 }], { sinceMs: 0, peers: [] }],
  ["but what it has counted since is", [{ a: 5 }, { a: 2 }], { sinceMs: 1000, peers: ["a"] }],
  ["a new peer without any", [{ a: 5 }, { a: 5, b: 0 }], { sinceMs: 0, peers: [] }],
  ["a new peer with some", [{ a: 5 }, { a: 5, b: 3 }], { sinceMs: 1000, peers: ["b"] }],
  ["a peer that is gone", [{ a: 5, b: 1 }, { a: 5 }], { sinceMs: 0, peers: [] }],
  ["counting that stops and comes back", [{ a: 5 }, {}, { a: 9 }], { sinceMs: 2000, peers: [] }],
];

test.each(cases)("%s", (_, given, expected) => {
  expect(looks(...given)).toEqual(expected);
});
