// docs/operations/runbook.md has a heading for each state, alert and check, and
// no heading for one that is gone.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { nodeStates } from "../../src/cli/status-text.ts";
import { checks } from "../../src/doctor/examine.ts";
import { conditionRows } from "../../src/kube/conditions.ts";
import { hostEncryptionStates } from "../../src/plan/host/host-encryption.ts";
import { peerStates } from "../../src/plan/report/peer-status.ts";

const root = `${import.meta.dir}/../..`;
const page = readFileSync(`${root}/docs/operations/runbook.md`, "utf8");

const alerts = (
  Bun.YAML.parse(readFileSync(`${root}/conf/alerts.yaml`, "utf8")) as {
    readonly groups: readonly { readonly rules: readonly { readonly alert: string }[] }[];
  }
).groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));

/** The rows of a table of reasons, by the first cell. */
const reasonRows = [...page.matchAll(/^\| `(\w+)` \| /gm)].map(([, reason]) => reason as string);

/** "### KIND: NAME" -> NAME. */
function headings(kind: string): string[] {
  return [...page.matchAll(new RegExp(`^### ${kind}: (.*)$`, "gm"))].map(([, name]) => name as string);
}

test.each([
  ["Peer state", peerStates],
  ["Node state", Object.values(nodeStates)],
  ["Host encryption", hostEncryptionStates],
  ["Alert", alerts],
  ["Check", checks.map(({ name }) => name)],
])("the runbook has one heading for each %s", (kind, names) => {
  expect(headings(kind).sort()).toEqual([...names].sort());
});

test("the runbook has a row for each reason of a condition", () => {
  const inCode = Object.values(conditionRows).flatMap((rows) => rows.map(({ reason }) => reason));
  expect(inCode.length).toBeGreaterThan(10);
  expect(reasonRows.sort()).toEqual([...new Set(inCode)].sort());
});

test("each heading says what it means, how to confirm it and what to do", () => {
  const sections = page.split(/^#{2,3} /m).filter((text) => /^[A-Z][a-z ]+: /.test(text));
  expect(sections.length).toBeGreaterThan(60);
  for (const text of sections)
    expect([text.split("\n", 1)[0], ...(text.match(/^- \*\*\w+\*\*/gm) ?? [])]).toEqual([
      expect.any(String),
      "- **Means**",
      "- **Confirm**",
      "- **Do**",
    ]);
});
