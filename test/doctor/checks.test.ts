// Runs every check alone, by tables (node-cases.ts, mesh-cases.ts) of changes to a healthy node
// and of the finding that each leads to.
import { describe, expect, test } from "bun:test";
import { checks, examine } from "../../src/doctor/examine.ts";
import { arrivalCases } from "./arrival-cases.ts";
import { healthy, identity, node, peer, withKernel, withPlan } from "./facts.ts";
import { meshCases } from "./mesh-cases.ts";
import { nodeCases } from "./node-cases.ts";
import { podCases } from "./pod-cases.ts";

const rows = [...nodeCases, ...meshCases, ...arrivalCases, ...podCases];

describe("checks", () => {
  test("every check passes on a healthy node, except those of records that are not exchanged", () => {
    const found = examine(healthy);
    expect(found.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(checks.map(({ name }) => name).filter((name) => !found.some((one) => one.name === name))).toEqual([
      "records",
      "Kubernetes API",
    ]);
  });

  test.each(rows.map(([change, facts, ...seen]) => ({ change, facts, seen })))(
    "$change",
    ({ facts, seen }) => {
      const [check, level, summary, remedy] = seen;
      const found = examine(facts).find(({ name }) => name === check);
      expect(found).toMatchObject({ level, summary: expect.stringMatching(summary) });
      if (remedy !== undefined) expect(found?.remedy).toMatch(remedy);
      if (level === "ok") expect(found?.remedy).toBeUndefined();
    },
  );

  test("every check is seen to fail or warn somewhere above", () => {
    const seen = new Set(rows.filter((row) => row[3] !== "ok").map((row) => row[2]));
    expect(checks.map(({ name }) => name).filter((name) => !seen.has(name))).toEqual([]);
  });

  test("a node that is down is asked only about itself", () => {
    const down = { ...withPlan({ up: false }), node: { ...node, identity: { ...identity, up: false } } };
    expect(examine(down).map(({ name }) => name)).toEqual([
      "store",
      "disk",
      "seal key",
      "node",
      "observation",
    ]);
  });

  test("a thousand faults of one kind are counted, and some of them named", () => {
    const peers = Array.from({ length: 1000 }, (_, i) => ({
      ...peer,
      name: `n${i}`,
      state: "silent" as const,
    }));
    const found = examine(withKernel({ peers })).find(({ name }) => name === "silence");
    expect(found?.summary).toContain("1000 peers ");
    expect(found?.details).toHaveLength(11);
    expect(found?.details?.at(-1)).toBe("and 990 more");
  });
});
