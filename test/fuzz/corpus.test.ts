// The part of fuzzing that every test run does: the corpus, and a search of a few thousand inputs from a fixed seed.
// `npm run fuzz` searches for longer.
import { describe, expect, test } from "bun:test";
import { readCorpus } from "./corpus.ts";
import { Search } from "./search.ts";
import { execute } from "./target.ts";
import { targets } from "./targets.ts";

/** In all some ten seconds on a machine that does nothing else. */
const executions = 5000;
const limitMs = 120_000;

describe.each(targets)("$name", (target) => {
  test("takes or refuses every input of its corpus, and takes at least one", () => {
    const outcomes = readCorpus(target).map(({ file, input }) => ({ file, outcome: execute(target, input) }));
    expect(outcomes.filter(({ outcome }) => outcome.kind === "fault")).toEqual([]);
    expect(outcomes.some(({ outcome }) => outcome.kind === "value")).toBe(true);
  });

  test(
    "survives mutated inputs",
    () => {
      const seeds = readCorpus(target).map(({ input }) => input);
      const search = new Search(target, seeds, 1);
      while (search.executions < executions) search.step();
      const found = [...search.findings.values()].map(
        ({ what, input }) =>
          `${what}; npm run fuzz -- --target ${target.name} --base64 '${input.toBase64()}'`,
      );
      expect(found).toEqual([]);
    },
    limitMs,
  );
});
