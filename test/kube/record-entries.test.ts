// Objects become entries of their nodes; slots of this node that another record names are found.
import { expect, test } from "bun:test";
import { judgeObject, type RecordObject } from "../../src/kube/object.ts";
import { findTakenSlots, toEntry } from "../../src/kube/record-entries.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { objectOf } from "./objects.ts";

const seen = (n: number, change: Parameters<typeof objectOf>[1] = {}) =>
  judgeObject(objectOf(recordOf(n), change)) as RecordObject;

test.each([
  ["a record whose Node is there is valid", {}, "present", "valid"],
  ["a record is pending until the API has said whether its Node is there", {}, undefined, "pending"],
  ["a malformed record is rejected", { spec: { podCIDRs: ["nonsense"] } }, "present", "rejected"],
  [
    "a malformed record is rejected before that too",
    { spec: { podCIDRs: ["nonsense"] } },
    undefined,
    "rejected",
  ],
  ["a record without an owner is rejected", { nodeUid: "" }, "present", "rejected"],
  ["a record without its Node is gone", {}, "absent", "gone"],
  ["a record of an earlier Node is gone", {}, "replaced", "gone"],
  ["a malformed record without its Node is gone", { spec: { podCIDRs: ["nonsense"] } }, "absent", "gone"],
] as const)("%s", (_, change, presence, state) => {
  expect(toEntry(seen(1, change as Parameters<typeof objectOf>[1]), presence).state).toBe(state);
});

test("an entry names the object and the reason", () => {
  const [malformed, unowned] = [seen(2, { spec: { podCIDRs: ["nonsense"] } }), seen(3, { nodeUid: "" })];
  expect([toEntry(malformed, "present"), toEntry(unowned, "present")]).toMatchObject([
    { file: "wireguardnode/node-2", reason: expect.stringContaining('"nonsense" is not a CIDR') },
    { file: "wireguardnode/node-3", reason: expect.stringContaining("it is not owned by Node node-3") },
  ]);
  expect([toEntry(seen(1), "absent"), toEntry(seen(2), "replaced")]).toMatchObject([
    { file: "wireguardnode/node-1", reason: expect.stringContaining("there is no Node node-1") },
    { file: "wireguardnode/node-2", reason: expect.stringContaining("an earlier Node node-2") },
  ]);
});

test("entries sort by the version of the last write as a number", () => {
  const writtenAt = ["17", "9", "10", "no number"].map((resourceVersion) => {
    const entry = toEntry(seen(1, { resourceVersion }), "present");
    return "writtenAt" in entry ? entry.writtenAt : undefined;
  });
  expect(writtenAt.toSorted().map((text) => Number(text))).toEqual([0, 9, 10, 17]);
});

test("a slot is taken if another record names its key and the node's own does not", () => {
  const own = recordOf(1);
  const copy = seen(2, { spec: { slots: [{ ...own.slots[1], slot: "a" }] } });
  expect(findTakenSlots([copy, seen(3)], own)).toEqual(["b"]);
  expect(findTakenSlots([seen(1, { spec: { slots: [] } }), copy], own)).toEqual(["b"]);
  // A copy that slipped through beside the node's record costs it nothing.
  expect(findTakenSlots([seen(1), copy], own)).toEqual([]);
  expect(findTakenSlots([seen(2), seen(3)], own)).toEqual([]);
});
