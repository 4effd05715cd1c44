// When a record that somebody else has changed is taken, as looks at one object.
import { expect, test } from "bun:test";
import { type ExternalEdits, editHoldMs, planExternalEdits } from "../../src/kube/external-edits.ts";
import { judgeObject, type RecordObject } from "../../src/kube/object.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { objectOf } from "./objects.ts";

const at = (second: number) => ({ time: `2026-03-01T12:00:${String(second).padStart(2, "0")}Z` });
const byAgent = {
  ...{ manager: "wg-cni", operation: "Apply", ...at(5) },
  fieldsV1: { "f:spec": { "f:slots": {} } },
};
const byHand = {
  ...{ manager: "kubectl-edit", operation: "Update", ...at(6) },
  fieldsV1: { "f:spec": { "f:podCIDRs": {} } },
};
const labelled = { manager: "kubectl-label", operation: "Update", ...at(9), fieldsV1: { "f:metadata": {} } };
const status = { ...byHand, manager: "tool", subresource: "status" };

function seen(managedFields: unknown): RecordObject {
  const { metadata, ...object } = objectOf(recordOf(1));
  return judgeObject({ ...object, metadata: { ...metadata, managedFields } }) as RecordObject;
}

test.each([
  [undefined, false],
  ["none", false],
  [[null, 5, {}], false],
  [[byAgent], false],
  [[byAgent, labelled], false],
  [[byAgent, status], false],
  [[byAgent, byHand], true],
  // It has set since what it wants, and of the rest somebody else has a part.
  [[{ ...byAgent, ...at(6) }, byHand], false],
  [[byHand], true],
])("managed by %j it is edited: %p", (managedFields, expected) => {
  expect(seen(managedFields).isEditedExternally).toBe(expected);
});

/** At each time, what is seen; taken or not. */
function takes(looks: readonly (readonly [atMs: number, object: RecordObject])[], known = ["node-1"]) {
  let edits: ExternalEdits = new Map();
  return looks.map(([nowMs, object]) => {
    const plan = planExternalEdits({ changed: [object], known: new Set(known), edits, nowMs });
    ({ edits } = plan);
    return plan.take.length === 1 ? "taken" : `in ${plan.wakeInMs} ms`;
  });
}
const edited = seen([byAgent, byHand]);
const own = seen([byAgent]);

test("it waits for its agent, and is taken if none restores its own", () => {
  const looks = [0, 4000, editHoldMs - 1, editHoldMs].map((atMs) => [atMs, edited] as const);
  expect(takes(looks)).toEqual(["in 10000 ms", "in 6000 ms", "in 1 ms", "taken"]);
});

test("put back, it is as if nothing had been; the next edit waits as long again", () => {
  expect(
    takes([
      [0, edited],
      [900, own],
      [9000, edited],
      [18_999, edited],
    ]),
  ).toEqual([...["in 10000 ms", "taken", "in 10000 ms", "in 1 ms"]]);
});

test("of a peer that is new there is nothing to hold on to", () => {
  expect(takes([[0, edited]], [])).toEqual(["taken"]);
});
