// The checks of `npm run check` find what they are for: each is run on a small tree that breaks it.
import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { checkClocks } from "../../scripts/clocks.ts";
import { checkRanks } from "../../scripts/ranks.ts";
import { checkWords } from "../../scripts/words.ts";

const root = mkdtempSync(join(tmpdir(), "wg-cni-rules-"));
afterAll(() => rmSync(root, { recursive: true }));

let trees = 0;
function tree(files: Readonly<Record<string, string>>): string {
  const directory = join(root, `${++trees}`);
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, "src", file)), { recursive: true });
    writeFileSync(join(directory, "src", file), text);
  }
  return directory;
}

const importing = (...targets: string[]) => targets.map((target) => `import "${target}";\n`).join("");

test.each([
  ["a level above", { "plan/peers/a.ts": importing("../mesh/b.ts") }, "src/plan/peers/a.ts"],
  ["an effect in a decision", { "plan/mesh/a.ts": importing("../../linux/b.ts") }, "src/plan/mesh/a.ts"],
  ["the agent's files in the CLI", { "cli/a.ts": importing("../agent/gate.ts") }, "src/cli/a.ts"],
  ["a directory without a level", { "misc/a.ts": importing("../net/b.ts") }, "src/misc/a.ts"],
  ["a slow module on the path of a call", { "cni/a.ts": importing("node:fs") }, "src/cni/a.ts"],
  ["SQLite outside the store", { "agent/a.ts": importing("bun:sqlite") }, "src/agent/a.ts"],
  [
    "a circle of types",
    { "net/a.ts": `import type { B } from "./b.ts";\n`, "net/b.ts": `import type { A } from "./a.ts";\n` },
    "an import circle: net/a.ts -> net/b.ts -> net/a.ts",
  ],
])("checkRanks refuses %s", (_, files, complaint) => {
  expect(checkRanks(tree(files)).filter((line) => line.startsWith(complaint))).not.toEqual([]);
});

test("checkRanks accepts what points down", () => {
  const files = {
    "agent/a.ts": importing("../plan/mesh/b.ts"),
    "plan/mesh/b.ts": importing("../../net/c.ts"),
  };
  expect(checkRanks(tree({ ...files, "net/c.ts": "" }))).toEqual([]);
});

test("checkClocks finds a clock in a decision, and not in a comment", () => {
  const files = { "plan/a.ts": "const now = Date.now();", "plan/b.ts": "// Date.now() is not read here.\n" };
  const complaints = checkClocks(tree(files)).filter((line) => line.includes("/plan/"));
  expect(complaints).toEqual(["src/plan/a.ts: reads a clock; take the time as an argument"]);
});

test.each([
  ["a comment without a subject", "/** What the peer has. */\n", "src/net/a.ts:1:"],
  [
    "a later sentence without one",
    "const a = 1;\n// Reads it.\n// Who asks is unknown.\n",
    "src/net/a.ts:2:",
  ],
  ["a replaced word in a message", 'const text = "the folder is gone";\n', "src/net/a.ts:1:"],
])("checkWords refuses %s", (_, text, place) => {
  expect(checkWords(tree({ "net/a.ts": text })).map((line) => line.slice(0, place.length))).toEqual([place]);
});

test("checkWords accepts sentences, and clauses inside of them", () => {
  const text =
    "/** Returns what the peer has; undefined if it has nothing. */\n// The peer decides which slot it uses.\n";
  expect(checkWords(tree({ "net/a.ts": text }))).toEqual([]);
});

test("checkWords refuses a replaced word in the title of a test, also behind a table of cases", () => {
  const text = `test.each([\n  ["a"],\n])("%s of somebody", () => {});\ntest("a folder is gone", () => {});\n`;
  const [first = "", second = "", ...more] = checkWords(tree({ "../test/a.test.ts": text }));
  expect([first, second, ...more].map((line) => line.split(" ")[0])).toEqual([
    "test/a.test.ts:3:",
    "test/a.test.ts:4:",
  ]);
});
