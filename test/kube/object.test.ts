// WireGuardNode objects: what comes back is what was written, and what somebody
// else has written is taken or refused with a reason.
import { describe, expect, test } from "bun:test";
import { isOlder, isPublished, isSameRecord, judgeObject, type RecordObject } from "../../src/kube/object.ts";
import type { NodeRecord } from "../../src/net/record.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { objectOf } from "./objects.ts";

const record = recordOf(1);
const judge = (json: unknown): RecordObject => judgeObject(json) as RecordObject;
const reason = (json: unknown): string => {
  const { verdict } = judge(json);
  return "reason" in verdict ? verdict.reason : `taken: ${JSON.stringify(verdict.record)}`;
};

test("what was written is read again, and is known to be published", () => {
  const seen = judge(JSON.parse(JSON.stringify(objectOf(record, { resourceVersion: "7" }))));
  expect(seen).toMatchObject({ name: "node-1", resourceVersion: "7", nodeUid: "uid-node-1" });
  expect(seen.verdict).toEqual({ record });
  expect(isPublished(seen, record, "uid-node-1")).toBe(true);
});

test.each([
  ["another record", { ...record, podCIDRs: ["10.9.0.0/24"] }, "uid-node-1"],
  ["another order of endpoints", { ...record, endpoints: [...record.endpoints, "198.18.9.9"] }, "uid-node-1"],
  ["a Node that was made anew", record, "uid-2"],
] as const)("%s is not published", (_, wanted, uid) => {
  expect(isPublished(judge(objectOf(record)), wanted as NodeRecord, uid)).toBe(false);
  expect(isPublished(undefined, wanted as NodeRecord, uid)).toBe(false);
});

describe("an object is refused for", () => {
  test.each([
    ["no owner", { ...objectOf(record), metadata: { name: "node-1" } }, "it is not owned by Node node-1"],
    [
      "another's Node",
      { ...objectOf(record), metadata: { ...objectOf(record).metadata, name: "node-2" } },
      "not owned by Node node-2",
    ],
    ["an owner without a UID", objectOf(record, { nodeUid: "" }), "not owned by Node"],
    ["no spec", { ...objectOf(record), spec: undefined }, "spec: is missing"],
    ["a spec that is none", { ...objectOf(record), spec: [1] }, "spec: is missing"],
    [
      "slots that are no list",
      objectOf(record, { spec: { slots: "a" } }),
      'spec.slots: must be a list, not "a"',
    ],
    [
      "a slot that is none",
      objectOf(record, { spec: { slots: [7] } }),
      "spec.slots[0]: must be an object, not 7",
    ],
    [
      "a key that is none",
      objectOf(record, { spec: { slots: [{ ...record.slots[0], publicKey: "x" }] } }),
      "spec.slots[0].publicKey",
    ],
    [
      "a state of a newer version",
      objectOf(record, { spec: { slots: [{ ...record.slots[0], state: "odd" }] } }),
      'spec.slots[0].state: "odd" is not one of',
    ],
    [
      "all addresses there are",
      objectOf(record, { spec: { podCIDRs: ["0.0.0.0/0"] } }),
      "spec.podCIDRs[0]: 0.0.0.0/0 is everything",
    ],
    [
      "the loopback",
      objectOf(record, { spec: { endpoints: ["127.0.0.1"] } }),
      "spec.endpoints[0]: 127.0.0.1 is a loopback address",
    ],
    [
      "CIDRs that overlap",
      objectOf(record, { spec: { podCIDRs: ["10.0.0.0/16", "10.0.1.0/24"] } }),
      "spec.podCIDRs: 10.0.1.0/24 overlaps",
    ],
    ["control characters", objectOf(record, { spec: { nodeIPs: ["\u001b[2J"] } }), "\\u001b"],
  ])("%s", (_, json, expected) => {
    expect(reason(json)).toContain(expected);
    expect(reason(json)).not.toMatch(/[\p{Cc}]/u);
  });
});

test.each([
  [
    "of a newer version has more to say",
    objectOf(record, { spec: { mtu: 1400, slots: record.slots.map((slot) => ({ ...slot, weight: 1 })) } }),
  ],
  ["has a status", { ...objectOf(record), status: { conditions: [] } }],
])("an object that %s is taken", (_, json) => {
  expect(judge(json).verdict).toEqual({ record });
});

test("an object of an older version that says less is taken for what it says", () => {
  const json = objectOf(record, { spec: { podCIDRs: undefined } });
  expect(judge(json).verdict).toEqual({ record: { ...record, podCIDRs: [] } });
});

test("an object without slots does not say that its node has no key: it is refused", () => {
  const json = objectOf(record, { spec: { slots: undefined } });
  expect(judge(json).verdict).toHaveProperty("reason");
  expect(judge(objectOf(record, { spec: { slots: [] } })).verdict).toEqual({
    record: { ...record, slots: [] },
  });
});

test("what has no name is passed over", () => {
  const metadata = [{}, { name: 5 }, { name: "" }];
  for (const json of [null, undefined, 7, "x", [], {}, ...metadata.map((one) => ({ metadata: one }))])
    expect(judgeObject(json)).toBeUndefined();
});

test("a change of what is not the record's is no change", () => {
  const before = judge(objectOf(record, { resourceVersion: "1" }));
  expect(
    isSameRecord(before, judge({ ...objectOf(record, { resourceVersion: "2" }), status: { peers: 3 } })),
  ).toBe(true);
  expect(isSameRecord(before, judge(objectOf(record, { nodeUid: "other" })))).toBe(false);
  expect(isSameRecord(before, judge(objectOf(record, { spec: { nodeIPs: [] } })))).toBe(false);
});

test.each([
  ["9", "10", true],
  ["10", "9", false],
  ["10", "10", false],
  ["18446744073709551615", "18446744073709551616", true],
  // Formally they have no order: what cannot be compared is taken as it comes.
  ["abc", "10", false],
  ["9", "", false],
])("version %p is older than %p: %p", (seen, known, expected) => {
  expect(isOlder(seen, known)).toBe(expected);
});
