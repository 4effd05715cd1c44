// Which Nodes are asked for and when, and what an answer proves.
import { describe, expect, test } from "bun:test";
import {
  type CensusFacts,
  findStanding,
  listSpacingMs,
  type Proof,
  planCensus,
  proveStanding,
} from "../../src/kube/census.ts";
import { judgeObject, type SeenObject } from "../../src/kube/object.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { objectOf } from "./objects.ts";

const seen = (n: number, change: Partial<SeenObject> = {}): SeenObject => ({
  ...(judgeObject(objectOf(recordOf(n))) as SeenObject),
  ...change,
});
const nodes = (...numbers: readonly number[]) =>
  new Map(numbers.map((n) => [`node-${n}`, `uid-node-${n}`] as const));

describe("an answer", () => {
  const cases: [what: string, object: SeenObject, uids: ReadonlyMap<string, string>, standing: string][] = [
    ["with the Node proves it", seen(1), nodes(1), "present"],
    ["without the Node disproves it", seen(1), nodes(2), "absent"],
    ["with another Node of that name disproves it", seen(1, { nodeUid: "earlier" }), nodes(1), "replaced"],
    ["without any Node disproves it", seen(1), new Map(), "absent"],
    ["is about the name alone if there is no owner", seen(1, { nodeUid: "" }), nodes(1), "present"],
  ];
  test.each(cases)("%s", (_, object, uids, standing) => {
    const proof = proveStanding(object, uids, undefined, 5);
    expect(proof).toMatchObject({ standing, atMs: 5, absences: standing === "present" ? 0 : 1 });
    expect(findStanding(object, new Map([["node-1", proof]]))).toBe(proof.standing);
  });

  test("says nothing of an object that was made anew, or has another owner", () => {
    const proofs = new Map([["node-1", proveStanding(seen(1), nodes(1), undefined, 0)]]);
    expect(findStanding(seen(1, { resourceVersion: "9", createdAt: "later" }), proofs)).toBe("present");
    expect(findStanding(seen(1, { uid: "made anew" }), proofs)).toBeUndefined();
    expect(findStanding(seen(1, { nodeUid: "another" }), proofs)).toBeUndefined();
    expect(findStanding(seen(2), proofs)).toBeUndefined();
  });
});

describe("asked for", () => {
  const facts = (objects: readonly SeenObject[], change: Partial<CensusFacts> = {}): CensusFacts => ({
    objects: new Map(objects.map((object) => [object.name, object])),
    ownName: "node-0",
    proofs: new Map(objects.map((object) => [object.name, proveStanding(object, nodes(1, 2), undefined, 0)])),
    nextListMs: 60_000,
    nowMs: 0,
    ...change,
  });

  test("are all at first, also where there is no record yet", () => {
    expect(planCensus(facts([], { nextListMs: undefined }))).toEqual({ ask: "all" });
  });

  test("are all when it is time", () => {
    expect(planCensus(facts([seen(1)], { nowMs: 59_999 }))).toEqual({ wakeInMs: 1 });
    expect(planCensus(facts([seen(1)], { nowMs: 60_000 }))).toEqual({ ask: "all" });
  });

  test("is what is not proven, and never this node's own", () => {
    const proofs = new Map<string, Proof>();
    expect(planCensus(facts([seen(0), seen(1), seen(2)], { proofs }))).toEqual({ ask: ["node-1", "node-2"] });
  });

  test("are all instead of many", () => {
    const many = Array.from({ length: 9 }, (_, i) => seen(i + 1));
    expect(planCensus(facts(many, { proofs: new Map() }))).toEqual({ ask: "all" });
  });

  test("again, ever more rarely, is what has no Node", () => {
    const asks = (absences: number, nowMs: number) => {
      const proof = { ...proveStanding(seen(3), nodes(), undefined, 0), absences };
      return planCensus(facts([seen(3)], { proofs: new Map([["node-3", proof]]), nextListMs: 1e6, nowMs }));
    };
    expect(asks(1, 0)).toEqual({ wakeInMs: 3000 });
    expect(asks(1, 3000)).toEqual({ ask: ["node-3"] });
    expect(asks(2, 3000)).toEqual({ wakeInMs: 3000 });
    expect(asks(50, 3000)).toEqual({ wakeInMs: 57_000 });
  });
});

test("all Nodes are listed once a minute, by all agents of thousands once a second", () => {
  expect([listSpacingMs(3, 0), listSpacingMs(3, 1), listSpacingMs(5000, 0)]).toEqual([
    ...[60_000, 90_000],
    5_000_000,
  ]);
});
