// Runs every check alone, by tables (node-cases.ts, mesh-cases.ts, peer-cases.ts) of changes to a healthy node
// and of the finding that each leads to.
import { describe, expect, test } from "bun:test";
import { checks, examine } from "../../src/doctor/examine.ts";
import { allCases } from "./cases.ts";
import { healthy, identity, node, peer, plan, withKernel, withPlan } from "./facts.ts";

describe("checks", () => {
  test("every check passes on a healthy node, except those of records that are not exchanged", () => {
    const found = examine(healthy);
    expect(found.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(checks.map(({ name }) => name).filter((name) => !found.some((one) => one.name === name))).toEqual([
      "records",
      "Kubernetes API",
    ]);
  });

  test.each(allCases.map(([change, facts, ...seen]) => ({ change, facts, seen })))(
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
    const seen = new Set(allCases.filter((row) => row[3] !== "ok").map((row) => row[2]));
    expect(checks.map(({ name }) => name).filter((name) => !seen.has(name))).toEqual([]);
  });

  test("a node that cannot make a handshake is not told to look for the cause at its peers", () => {
    const fault = { kind: "failure", reason: "Cannot start …" } as const;
    const faults = new Map([
      ["a", fault],
      ["b", fault],
    ] as const);
    const way = { reach: "plaintext" } as const;
    const waiting = { ...peer, state: "waiting", ...way, intent: way, lastHandshakeMs: 0 } as const;
    const lost = { ...plan, faults };
    const found = examine(withKernel({ plan: lost, faults: [fault.reason], peers: [waiting] }));
    expect(found.filter(({ level }) => level === "fail").map(({ name }) => name)).toEqual(["slots"]);
    expect(found.map(({ name }) => name)).not.toContain("handshakes");
  });

  test("a node that is down is asked only about itself", () => {
    const down = { ...withPlan({ up: false }), node: { ...node, identity: { ...identity, up: false } } };
    expect(examine(down).map(({ name }) => name)).toEqual([
      "store",
      "disk",
      "seal key",
      "machine",
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
