// What counters of plaintext add up to, over resets, other tables and gates that open.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { PlaintextEvidence } from "../../../src/net/plaintext.ts";
import { foldPlaintext, plaintextWindow } from "../../../src/plan/report/plaintext-evidence.ts";

const remotes = [
  { element: "10.2.0.0/24", peer: "n2" },
  { element: "10.3.0.0/24", peer: "n3" },
];
const none: PlaintextEvidence = { peers: new Map() };

function counters(out: number, into = 0) {
  const of = (packets: number) => new Map([["10.2.0.0/24", { packets, bytes: 100 * packets }]]);
  return new Map([
    ["pods4_out", of(out)],
    ["pods4_in", of(into)],
  ]);
}

function read(
  before: PlaintextEvidence,
  {
    table = "t1",
    out = 0,
    into = 0,
    nowMs = 1000,
    isProtected = true,
    isDropping = false,
  }: Partial<ReadingCase> = {},
) {
  const reading = { ...(table === "" ? {} : { table }), counters: counters(out, into), nowMs };
  return foldPlaintext(before, reading, { remotes, isProtected: () => isProtected, isDropping });
}

interface ReadingCase {
  /** "" for none. */
  readonly table: string;
  readonly out: number;
  readonly into: number;
  readonly nowMs: number;
  readonly isProtected: boolean;
  readonly isDropping: boolean;
}

test("a set that should have elements and has none makes a gap, for who knows that it had them", () => {
  const before = read(none, { out: 3 }).evidence;
  const fold = (sets: readonly string[], more: { readonly isProgrammed?: true }) => {
    const all = counters(3);
    const reading = {
      table: "t1",
      counters: new Map(sets.map((set) => [set, all.get(set) ?? new Map()])),
      nowMs: 5000,
    };
    const { hasGap, hasChanged, evidence } = foldPlaintext(before, reading, {
      ...{ remotes, isProtected: () => true, isDropping: false, ...more },
    });
    return [hasGap, hasChanged, evidence.counting?.sinceMs];
  };
  const known = { isProgrammed: true } as const;
  expect(fold(["pods4_out", "pods4_in"], known)).toEqual([false, false, 1000]);
  expect(fold(["pods4_out"], known)).toEqual([true, true, 5000]);
  expect(fold([], known)).toEqual([true, true, 5000]);
  expect(fold(["pods4_out"], {})).toEqual([false, false, 1000]);
});

describe("foldPlaintext", () => {
  test("takes the first reading as news, and adds nothing when the counters stand still", () => {
    const first = read(none, { out: 3, into: 2 });
    expect(first.news).toEqual([
      { peer: "n2", direction: "in", packets: 2, isLeak: true },
      { peer: "n2", direction: "out", packets: 3, isLeak: true },
    ]);
    const second = read(first.evidence, { out: 3, into: 2, nowMs: 2000 });
    expect(second).toMatchObject({ news: [], hasChanged: false, hasGap: false });
    expect(second.evidence.peers.get("n2")).toEqual({
      ...{ inPackets: 2, outPackets: 3, leakedPackets: 5, firstAtMs: 1000, lastAtMs: 1000 },
      droppedPackets: 0,
    });
  });

  test("counts as dropped what strict mode counts, and not what went in plaintext before it", () => {
    const first = read(none, { out: 5, isProtected: false });
    expect(first.evidence.peers.get("n2")).toMatchObject({ outPackets: 5, droppedPackets: 0 });
    const second = read(first.evidence, { out: 7, into: 1, isProtected: false, isDropping: true });
    const third = read(second.evidence, { out: 9, into: 1, isProtected: false });
    expect(third.evidence.peers.get("n2")).toMatchObject({ outPackets: 9, inPackets: 1, droppedPackets: 3 });
  });

  test("keeps what was counted when another table counts, and says that packets may be missing", () => {
    const first = read(none, { out: 3 });
    const second = read(first.evidence, { table: "t2", out: 1, nowMs: 2000 });
    expect(second.hasGap).toBe(true);
    expect(second.evidence.counting?.sinceMs).toBe(2000);
    expect(second.evidence.peers.get("n2")).toMatchObject({ outPackets: 4, firstAtMs: 1000, lastAtMs: 2000 });
  });

  test("keeps what was counted while there is no table", () => {
    const first = read(none, { out: 3 });
    const second = read(first.evidence, { table: "", nowMs: 2000 });
    expect(second.evidence.peers.get("n2")?.outPackets).toBe(3);
    expect(read(second.evidence, { table: "t2", nowMs: 3000 }).hasGap).toBe(false);
  });

  test("counts an element that was made anew from 0", () => {
    const first = read(none, { out: 30 });
    expect(read(first.evidence, { out: 4 }).news).toMatchObject([{ packets: 4 }]);
  });

  test("keeps that an element was made anew, so that it may pass its former count", () => {
    const first = read(none, { out: 10 });
    const emptied = read(first.evidence, { out: 0 });
    expect(emptied).toMatchObject({ news: [], hasChanged: true });
    expect(read(emptied.evidence, { out: 12 }).news).toMatchObject([{ packets: 12 }]);
  });

  test("counts for a peer that was removed after the last reading, until the table has lost its elements", () => {
    const counting = { table: "t1", sinceMs: 0, bases: { "pods4_out 10.9.0.0/24": 1 } };
    const before = { counting: { ...counting, former: { "10.9.0.0/24": "n9" } }, peers: new Map() };
    const fold = (known: PlaintextEvidence, elements: Record<string, number>) => {
      const counted = Object.entries(elements).map(
        ([element, packets]) => [element, { packets, bytes: 0 }] as const,
      );
      const reading = { table: "t1", counters: new Map([["pods4_out", new Map(counted)]]), nowMs: 1000 };
      return foldPlaintext(known, reading, { remotes, isProtected: () => false, isDropping: false });
    };
    const first = fold(before, { "10.9.0.0/24": 3 });
    expect(first.evidence.peers.get("n9")).toMatchObject({ outPackets: 2 });
    expect(first.evidence.counting?.former).toEqual({ "10.9.0.0/24": "n9" });
    const second = fold(first.evidence, {});
    expect(second.evidence.counting?.former).toBeUndefined();
    expect(second.evidence.peers.get("n9")).toMatchObject({ outPackets: 2 });
    expect(fold(second.evidence, {}).hasChanged).toBe(false);
    // Once another peer has the element, its packets are that peer's.
    const given = { ...before, counting: { ...before.counting, former: { "10.2.0.0/24": "n9" } } };
    expect(fold(given, { "10.2.0.0/24": 4 }).news).toMatchObject([{ peer: "n2", packets: 4 }]);
  });

  test("tells leaks from packets that were rightly outside the tunnel", () => {
    const first = read(none, { out: 5, isProtected: false });
    const second = read(first.evidence, { out: 7, nowMs: 2000 });
    expect(second.evidence.peers.get("n2")).toMatchObject({ outPackets: 7, leakedPackets: 2 });
  });

  test("loses no packet in any order of packets, readings and new tables", () => {
    const event = fc.oneof(
      fc.record({ kind: fc.constant("packets" as const), count: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ kind: fc.constant("reading" as const) }),
      fc.record({ kind: fc.constant("new table" as const) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        let [evidence, sent, counter, tables] = [none, 0, 0, 1];
        const fold = () => {
          evidence = read(evidence, { table: `t${tables}`, out: counter }).evidence;
        };
        for (const one of events) {
          if (one.kind === "packets") [sent, counter] = [sent + one.count, counter + one.count];
          else fold();
          // Whoever makes the table anew on purpose reads it before.
          if (one.kind === "new table") [tables, counter] = [tables + 1, 0];
        }
        fold();
        expect(evidence.peers.get("n2")?.outPackets ?? 0).toBe(sent);
      }),
      { numRuns: 300 },
    );
  });
});

describe("plaintextWindow", () => {
  test("is unknown if nothing counts", () => {
    expect(plaintextWindow(none, 5000)).toBeUndefined();
    expect(plaintextWindow(read(none, { table: "" }).evidence, 5000)).toBeUndefined();
  });

  test("begins with the last packet, whichever agent counted it", () => {
    const evidence = read(read(none, { nowMs: 0 }).evidence, { out: 1, nowMs: 2000 }).evidence;
    expect(plaintextWindow(evidence, 5000)).toEqual({ forMs: 3000, peers: ["n2"] });
  });

  test("begins with the table if no packet came", () => {
    expect(plaintextWindow(read(none, { nowMs: 1000 }).evidence, 5000)).toEqual({ forMs: 4000, peers: [] });
  });
});
