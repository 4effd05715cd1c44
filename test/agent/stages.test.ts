// The table of stages: its order, and what a refusal of the store ends.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { PassContext } from "../../src/agent/pass-context.ts";
import { runStages, type Stage } from "../../src/agent/stage.ts";
import { stages } from "../../src/agent/stages.ts";
import { StoreError } from "../../src/state/error.ts";

const refusal = new StoreError("busy", "Cannot write the store");

/** Runs the real table with stages that only note their names; `failing` throws. */
function runTable(failing: string, error: Error) {
  const ran: string[] = [];
  const refused: string[] = [];
  let frees = 0;
  const table = stages.map(
    (stage): Stage<undefined> => ({
      ...stage,
      when: () => true,
      run: () => {
        ran.push(stage.name);
        if (stage.name === failing) throw error;
      },
    }),
  );
  let thrown: unknown;
  try {
    runStages(table, undefined, { onRefusal: (stage) => refused.push(stage), onFree: () => frees++ });
  } catch (caught) {
    thrown = caught;
  }
  return { ran, refused, frees, thrown };
}

const names = stages.map(({ name }) => name);

test("docs/design/architecture.md has the stages in their order, with what a refusal ends", () => {
  const text = readFileSync(`${import.meta.dir}/../../docs/design/architecture.md`, "utf8");
  const [, table = ""] = /\| Stage \|.*\n\|[-|]+\n((?:\|.*\n)+)/.exec(text) ?? [];
  const documented = [...table.matchAll(/^\| ([^|]+) \|[^|]+\| the (\w+) \|/gm)].map(([, ...row]) => row);
  expect(documented).toEqual(stages.map(({ name, storeErrorEnds }) => [name, storeErrorEnds]));
});

test.each(stages)("if the store refuses the stage $name, it ends what the table says", (stage) => {
  const { ran, refused, thrown } = runTable(stage.name, refusal);
  const isPassOver = stage.storeErrorEnds === "pass";
  expect(ran).toEqual(isPassOver ? names.slice(0, names.indexOf(stage.name) + 1) : names);
  expect(refused).toEqual(isPassOver ? [] : [stage.name]);
  expect(thrown).toBe(isPassOver ? refusal : undefined);
});

test.each(names)("if the stage %s throws another error, the pass ends", (name) => {
  const error = new Error("EPERM");
  const { ran, refused, thrown } = runTable(name, error);
  expect([ran.at(-1), refused, thrown]).toEqual([name, [], error]);
});

test("a stage is skipped if its condition is false when its turn comes; memory is freed all the same", () => {
  const context = { isOn: true, ran: [] as string[] };
  const stage = (name: string): Stage<typeof context> => ({
    name,
    when: ({ isOn }) => isOn,
    run: (pass) => {
      pass.ran.push(name);
      pass.isOn = false;
    },
    storeErrorEnds: "stage",
    freesMemory: true,
  });
  let frees = 0;
  const onRefusal = () => expect.unreachable();
  runStages([stage("first"), stage("second")], context, { onRefusal, onFree: () => frees++ });
  expect([context.ran, frees]).toEqual([["first"], 2]);
});

test.each([
  [
    "a poll that shows nothing",
    { isPoll: true, isIdle: true, triggers: ["poll"] },
    ["records", "new pod CIDRs", "sync", "pod links"],
  ],
  [
    "a poll that shows something",
    { isPoll: true, isIdle: false, triggers: ["poll"] },
    ["records", "new pod CIDRs"],
  ],
  ["a pass for records", { isPoll: false, isIdle: false, triggers: ["records", "store"] }, []],
  ["any other pass", { isPoll: false, isIdle: false, triggers: ["records", "route"] }, ["new pod CIDRs"]],
])("%s skips only what it does not need", (_, { triggers, ...kind }, skipped) => {
  const pass = {
    ...kind,
    triggers: new Set(triggers),
    refusals: [],
    memory: { state: { up: true } },
  } as unknown as PassContext;
  expect(stages.filter(({ when }) => !when(pass)).map(({ name }) => name)).toEqual(skipped);
});

test("the startup taint stays while there is a problem, and while the node is not up", () => {
  const taint = stages.find(({ name }) => name === "startup taint");
  const isRun = (pass: object) => taint?.when({ refusals: [], ...pass } as unknown as PassContext);
  const memory = { state: { up: true } };
  expect(isRun({ memory })).toBe(true);
  expect(isRun({ memory, refusals: ["locked"] })).toBe(false);
  expect(isRun({ memory, syncProblem: "EPERM" })).toBe(false);
  expect(isRun({ memory, installationProblem: "no network" })).toBe(false);
  expect(isRun({ memory: { state: { up: false } } })).toBe(false);
  expect(isRun({ memory: {} })).toBe(false);
});

test.each([
  ["has shown nothing", 7, true],
  ["has read a write to the store that no event has told of yet", 8, false],
] as const)("a poll that %s", (_, generation, isIdle) => {
  const pass = {
    ...{ isPoll: true, isIdle: false, decision: { changed: false, drifted: false, hurry: false } },
    memory: { view: { generation }, state: { generation: 7 } },
    // No slot of the node is withdrawn.
    session: { nodes: { intent: () => ({}) } },
  } as unknown as PassContext;
  stages.find(({ name }) => name === "idle check")?.run(pass);
  expect(pass.isIdle).toBe(isIdle);
});
