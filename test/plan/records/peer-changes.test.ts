// How the store's peers follow the entries of a source: who is put, in which order, who leaves and when.
import { expect, test } from "bun:test";
import { apiAbsences } from "../../../src/kube/record-entries.ts";
import type { PeerSource } from "../../../src/net/record.ts";
import { directoryAbsences } from "../../../src/plan/records/directory.ts";
import {
  type AbsenceRule,
  editWaitMs,
  emptyMemory,
  listRejected,
  type PeerFacts,
  planPeerChanges,
  type RecordEntry,
  type ValidEntry,
} from "../../../src/plan/records/peer-changes.ts";

const valid = (name: string, change: Partial<ValidEntry> = {}): ValidEntry => ({
  ...{ state: "valid", createdAt: "", writtenAt: "", isEditedExternally: false },
  record: { name, slots: [], endpoints: [], nodeIPs: [], podCIDRs: [] },
  ...change,
});
const rejected = (state: "rejected" | "gone"): RecordEntry => ({ state, file: "file", reason: "reason" });
const pending: RecordEntry = { state: "pending" };

type Entries = Readonly<Record<string, RecordEntry>>;
type Sources = Readonly<Record<string, PeerSource>>;

function plan(entries: Entries, sources: Sources, facts: Partial<PeerFacts> = {}) {
  return planPeerChanges({
    ...{ source: "kube", entries: new Map(Object.entries(entries)), changed: Object.keys(entries) },
    ...{ sources: new Map(Object.entries(sources)), isCurrent: true, rule: apiAbsences },
    ...{ memory: emptyMemory, nowMs: 0, ...facts },
  });
}

const namesOf = (records: readonly { readonly name: string }[]) => records.map(({ name }) => name).join(" ");

test.each([
  ["is new: it is put", valid("a"), {}, "a", ""],
  ["is known: it is put", valid("a"), { a: "kube" }, "a", ""],
  ["was imported: it is taken over", valid("a"), { a: "import" }, "a", ""],
  ["was a directory's: it is taken over", valid("a"), { a: "directory" }, "a", ""],
  ["is malformed: its peer stays", rejected("rejected"), { a: "kube" }, "", ""],
  ["is not judged yet: its peer stays", pending, { a: "kube" }, "", ""],
  ["is gone: its peer leaves", rejected("gone"), { a: "kube" }, "", "a"],
  ["is gone: an imported peer stays", rejected("gone"), { a: "import" }, "", ""],
] as const satisfies readonly (readonly [string, RecordEntry, Sources, string, string])[])(
  "an entry %s",
  (_, entry, sources, put, remove) => {
    const rule: AbsenceRule = { ...apiAbsences, waitMs: 0 };
    const changes = plan({ a: entry }, sources, { rule });
    expect([namesOf(changes.put), changes.remove.join(" ")]).toEqual([put, remove]);
  },
);

test("an entry that has not changed is not put", () => {
  expect(plan({ a: valid("a"), b: valid("b") }, { a: "kube" }, { changed: ["b"] }).put).toHaveLength(1);
});

test.each(["import", "directory"] as const)(
  "the API takes over a peer of source %s, and keeps it",
  (source) => {
    expect(plan({ a: valid("a") }, { a: source }).put).toHaveLength(1);
    expect(plan({ a: valid("a") }, { a: "kube" }, { source: "directory" }).put).toEqual([]);
  },
);

test("peers come first, in the order in which they were written, then the rest, in the order in which they were made", () => {
  const made = ["e5", "d3", "c3", "b9", "a1"].map((text, i) =>
    valid(text[0]!, { createdAt: text[1]!, writtenAt: `${i}` }),
  );
  const entries = Object.fromEntries(made.map((entry) => [entry.record.name, entry]));
  expect(namesOf(plan(entries, {}).put)).toBe("a c d e b");
  expect(namesOf(plan(entries, { b: "kube", e: "kube" }).put)).toBe("e b a c d");
  // An imported peer is a new one to the source.
  expect(namesOf(plan(entries, { b: "import" }).put)).toBe("a c d e b");
});

test("a record that another writer changed waits for its agent, and is put if none restores it", () => {
  const edited = valid("a", { isEditedExternally: true });
  const at = (nowMs: number, entry: RecordEntry, memory = emptyMemory, sources: Sources = { a: "kube" }) => {
    const changes = plan({ a: entry }, sources, { nowMs, memory, changed: nowMs === 0 ? ["a"] : [] });
    return { ...changes, said: changes.put.length === 1 ? "put" : `in ${changes.wakeInMs} ms` };
  };
  const first = at(0, edited);
  expect(first.said).toBe(`in ${editWaitMs} ms`);
  expect(at(4000, edited, first.memory).said).toBe(`in ${editWaitMs - 4000} ms`);
  expect(at(editWaitMs, edited, first.memory).said).toBe("put");
  // The next edit waits as long again.
  const restored = at(900, valid("a"), first.memory);
  expect([restored.said, restored.memory.editedSinceMs.size]).toEqual(["put", 0]);
  // There is no earlier record of a new peer that could stay.
  expect(at(0, edited, emptyMemory, {}).said).toBe("put");
});

const minute = 60_000;
const kube = (...names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, "kube" as const]));

/** From a time on, the names that have a record; returns when each peer leaves. */
function play(peers: readonly string[], story: readonly (readonly [fromMs: number, names: string])[]) {
  const sources: Record<string, PeerSource> = kube(...peers);
  const left: Record<string, number> = {};
  let doubts = 0;
  let memory = emptyMemory;
  for (let nowMs = 0; nowMs <= 10 * minute; nowMs += 1000) {
    const names = story.findLast(([fromMs]) => fromMs <= nowMs)?.[1] ?? peers.join("");
    const entries = Object.fromEntries([...names].map((name) => [name, valid(name)]));
    const changes = plan(entries, sources, { memory, nowMs });
    memory = changes.memory;
    if (changes.doubt !== undefined) doubts++;
    for (const name of changes.remove) {
      delete sources[name];
      left[name] = nowMs / 1000;
    }
  }
  return { left, doubts };
}

test.each([
  ["no peer goes", "abcd", [], {}],
  ["one goes", "abcd", [[5000, "abc"]], { d: 15 }],
  ["the only one goes", "a", [[5000, ""]], { a: 15 }],
  ["half go", "abcd", [[0, "ab"]], { c: 10, d: 10 }],
  ["most go", "abcd", [[0, "a"]], { b: 300, c: 300, d: 300 }],
  ["all go", "abcd", [[0, ""]], { a: 300, b: 300, c: 300, d: 300 }],
  [
    "one is deleted by mistake, and its node writes it again",
    "abcd",
    [
      [1000, "abc"],
      [10_000, "abcd"],
    ],
    {},
  ],
  [
    "the resource is deleted and made again",
    "abcd",
    [
      [0, ""],
      [20_000, "a"],
      [60_000, "abc"],
      [200_000, "abcd"],
    ],
    {},
  ],
  [
    "all go, and one does not come back",
    "abcd",
    [
      [0, ""],
      [20_000, "abc"],
    ],
    { d: 300 },
  ],
] as const)("of the API's peers, %s", (_, peers, story, expected) => {
  expect(play([...peers], story).left).toEqual(expected as Record<string, number>);
});

test("the API is doubted for as long as most records are gone, and no longer than the delay", () => {
  expect(play(["a", "b"], [[0, ""]]).doubts).toBe(300);
  expect(play(["a", "b", "c"], [[0, "ab"]]).doubts).toBe(0);
  expect(plan({}, kube("a", "b")).doubt).toContain("for 2 of 2 peers");
});

test("while changes do not arrive, no peer leaves, and the delay begins again", () => {
  const first = plan({}, kube("a"));
  const blind = plan({}, kube("a"), { memory: first.memory, nowMs: minute, isCurrent: false });
  expect([blind.remove, blind.memory.absences.size]).toEqual([[], 0]);
  expect(plan({}, kube("a"), { memory: blind.memory, nowMs: minute }).remove).toEqual([]);
});

/** The directory's peers; "own": the directory has this node's record. */
test.each([
  ["one of two goes", "ab", { a: valid("a") }, "own", false, "b"],
  ["the only one goes", "a", {}, "own", false, "a"],
  ["the only one goes, with this node's record", "a", {}, "", false, "doubt"],
  ["the only one goes, from a directory in doubt", "a", {}, "own", true, "doubt"],
  ["all go", "ab", {}, "own", false, "doubt"],
  ["all go, and only malformed records are left", "ab", { c: rejected("rejected") }, "own", false, "doubt"],
  ["all go, and others come", "ab", { c: valid("c") }, "", true, "a b"],
] as const satisfies readonly (readonly [string, string, Entries, string, boolean, string])[])(
  "of a directory's peers, %s",
  (_, peers, entries, own, wasDoubtful, expected) => {
    const sources = Object.fromEntries([...peers].map((name) => [name, "directory" as const]));
    const changes = plan(entries, sources, {
      ...{ source: "directory", rule: directoryAbsences("/records", own === "own") },
      memory: { ...emptyMemory, isDoubtful: wasDoubtful },
    });
    expect(changes.doubt === undefined ? changes.remove.join(" ") : "doubt").toBe(expected);
    if (expected === "doubt") expect([changes.remove, changes.wakeInMs]).toEqual([[], undefined]);
  },
);

test("a directory in doubt stays so while it cannot be read", () => {
  const rule = directoryAbsences("/records", true);
  const memory = { ...emptyMemory, isDoubtful: true };
  const facts = { source: "directory", rule, memory } as const;
  const unreadable = plan({}, { a: "directory" }, { ...facts, isCurrent: false });
  expect(unreadable.memory.isDoubtful).toBe(true);
});

test("rejected records are listed by file, with what becomes of the peer", () => {
  const entries = new Map<string, RecordEntry>([
    ["c", { state: "rejected", file: "c.json", reason: "it is empty" }],
    ["b", valid("b")],
    ["a", { state: "rejected", file: "a.json", reason: "it is empty" }],
    ["d", { state: "gone", file: "d.json", reason: "there is no Node d" }],
    ["e", pending],
  ]);
  expect(listRejected("kube", entries, new Map(Object.entries(kube("c", "d"))))).toEqual([
    { file: "a.json", reason: "it is empty" },
    { file: "c.json", reason: "it is empty; the record taken before stays" },
    { file: "d.json", reason: "there is no Node d" },
  ]);
});
