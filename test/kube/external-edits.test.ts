// Tells if another writer than an agent changed an object last.
import { expect, test } from "bun:test";
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
