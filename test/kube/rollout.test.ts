// A rollout lists what is missing for its next step, from the API's objects.
import { expect, test } from "bun:test";
import { describeRollout, isUp } from "../../src/kube/rollout.ts";
import type { Mode } from "../../src/plan/settings/settings.ts";

const record = (name: string, mode?: string, covered?: [status: string, message: string]) => ({
  metadata: { name },
  ...(mode === undefined
    ? {}
    : {
        status: {
          mode,
          conditions: [
            { type: "NetworkEncrypted", status: "False", message: "not this one" },
            ...(covered === undefined ? [] : [{ type: "Covered", status: covered[0], message: covered[1] }]),
          ],
        },
      }),
});
const yes: [string, string] = ["True", "all"];

test("a cluster that is ready for the next step", () => {
  const records = [record("n1", "off", yes), record("n2", "off", yes), record("gone", "strict")];
  expect(describeRollout({ mode: "off", nodes: ["n1", "n2"], others: [], records })).toEqual({
    ...{ mode: "off", next: "permissive", nodes: 2, inMode: 2, covered: 2, missing: [], leftOut: [] },
  });
});

test("nodes that are to have no agent are left out, but for one that has a record", () => {
  const records = [record("n1", "off", yes), record("odd", "permissive", yes)];
  const others = ["win-2", "odd", "win-1"];
  expect(describeRollout({ mode: "off", nodes: ["n1"], others, records })).toMatchObject({
    ...{ nodes: 2, inMode: 1, covered: 1, leftOut: ["win-1", "win-2"] },
    missing: [{ node: "odd", reason: "reports permissive, and not off yet" }],
  });
});

test("every kind of thing that is missing, by node", () => {
  const records = [
    record("quiet"),
    record("old", "permissive"),
    record("late", "off", yes),
    record("alone", "permissive", ["False", "n9 is not reached"]),
    record("well", "permissive", yes),
    { metadata: { name: "odd" }, status: { mode: "permissive", conditions: "none" } },
    null,
  ];
  const nodes = ["well", "quiet", "old", "odd", "none", "late", "alone"];
  const { missing, covered, inMode } = describeRollout({ mode: "permissive", nodes, others: [], records });
  expect({ covered, inMode }).toEqual({ covered: 1, inMode: 4 });
  expect(missing.map(({ node, reason }) => `${node} ${reason}`)).toEqual([
    "alone n9 is not reached",
    "late reports off, and not permissive yet",
    "none has no record: its agent does not run, or cannot write one (see its log)",
    "odd does not report its coverage: its agent is of an older version",
    "old does not report its coverage: its agent is of an older version",
    "quiet has not reported yet, which takes its agent half a minute",
  ]);
});

test("strict is the last step, and without a mesh the first is the one that changes no node", () => {
  const records = [record("n1", "strict", yes)];
  expect(describeRollout({ mode: "strict", nodes: ["n1"], others: [], records })).not.toHaveProperty("next");
  expect(describeRollout({ nodes: ["n1"], others: [], records })).toEqual({
    ...{ next: "permissive", nodes: 1, inMode: 0, covered: 1, missing: [], leftOut: [] },
  });
  const mixed = [record("n1", "permissive", yes), record("n2", "off", yes)];
  expect(describeRollout({ nodes: ["n1", "n2"], others: [], records: mixed }).next).toBe("off");
});

test.each([
  ["off", "permissive", true],
  ["off", "strict", true],
  ["permissive", "strict", true],
  ["strict", "permissive", false],
  ["permissive", "off", false],
  ["strict", "strict", false],
  [undefined, "strict", false],
] as const)("%p to %p is a step up: %p", (from: Mode | undefined, to, expected) => {
  expect(isUp(from, to)).toBe(expected);
});
