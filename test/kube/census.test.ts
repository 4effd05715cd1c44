// The census decides which Nodes are asked for and when, and what an answer proves.
import { describe, expect, test } from "bun:test";
import {
  type CensusFacts,
  findPresence,
  listSpacingMs,
  type PresenceAnswer,
  planCensus,
  toPresenceAnswer,
} from "../../src/kube/census.ts";
import { judgeObject, type RecordObject } from "../../src/kube/object.ts";
import { recordOf } from "../sources/directory/directory.ts";
import { objectOf } from "./objects.ts";

const seen = (n: number, change: Partial<RecordObject> = {}): RecordObject => ({
  ...(judgeObject(objectOf(recordOf(n))) as RecordObject),
  ...change,
});
const nodes = (...numbers: readonly number[]) =>
  new Map(numbers.map((n) => [`node-${n}`, `uid-node-${n}`] as const));

describe("an answer", () => {
  const cases: [what: string, object: RecordObject, uids: ReadonlyMap<string, string>, presence: string][] = [
    ["with the Node proves it", seen(1), nodes(1), "present"],
    ["without the Node disproves it", seen(1), nodes(2), "absent"],
    ["with another Node of that name disproves it", seen(1, { nodeUid: "earlier" }), nodes(1), "replaced"],
    ["without any Node disproves it", seen(1), new Map(), "absent"],
    ["is about the name alone if there is no owner", seen(1, { nodeUid: "" }), nodes(1), "present"],
  ];
  test.each(cases)("%s", (_, object, uids, presence) => {
    const answer = toPresenceAnswer(object, uids, undefined, 5);
    expect(answer).toMatchObject({ presence, atMs: 5, absences: presence === "present" ? 0 : 1 });
    expect(findPresence(object, new Map([["node-1", answer]]))).toBe(answer.presence);
  });

  test("says nothing of an object that was made anew, or has another owner", () => {
    const answers = new Map([["node-1", toPresenceAnswer(seen(1), nodes(1), undefined, 0)]]);
    expect(findPresence(seen(1, { resourceVersion: "9", createdAt: "later" }), answers)).toBe("present");
    expect(findPresence(seen(1, { uid: "made anew" }), answers)).toBeUndefined();
    expect(findPresence(seen(1, { nodeUid: "another" }), answers)).toBeUndefined();
    expect(findPresence(seen(2), answers)).toBeUndefined();
  });
});

describe("asked for", () => {
  const facts = (objects: readonly RecordObject[], change: Partial<CensusFacts> = {}): CensusFacts => ({
    objects: new Map(objects.map((object) => [object.name, object])),
    ownName: "node-0",
    answers: new Map(
      objects.map((object) => [object.name, toPresenceAnswer(object, nodes(1, 2), undefined, 0)]),
    ),
    nextListMs: 60_000,
    nowMs: 0,
    ...change,
  });

  test("are all at first, also if there is no record yet", () => {
    expect(planCensus(facts([], { nextListMs: undefined }))).toEqual({ ask: "all" });
  });

  test("are all when it is time", () => {
    expect(planCensus(facts([seen(1)], { nowMs: 59_999 }))).toEqual({ wakeInMs: 1 });
    expect(planCensus(facts([seen(1)], { nowMs: 60_000 }))).toEqual({ ask: "all" });
  });

  test("is what is not proven, and never this node's own", () => {
    const answers = new Map<string, PresenceAnswer>();
    expect(planCensus(facts([seen(0), seen(1), seen(2)], { answers }))).toEqual({
      ask: ["node-1", "node-2"],
    });
  });

  test("are all instead of many", () => {
    const many = Array.from({ length: 9 }, (_, i) => seen(i + 1));
    expect(planCensus(facts(many, { answers: new Map() }))).toEqual({ ask: "all" });
  });

  test("again, ever more rarely, is what has no Node", () => {
    const asks = (absences: number, nowMs: number) => {
      const answer = { ...toPresenceAnswer(seen(3), nodes(), undefined, 0), absences };
      return planCensus(facts([seen(3)], { answers: new Map([["node-3", answer]]), nextListMs: 1e6, nowMs }));
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
