import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { findStateFault } from "../../src/state/probe.ts";
import { Store } from "../../src/state/store.ts";
import { newStateDir, removeStateDirs } from "./support.ts";

afterAll(removeStateDirs);

test("a state that is there, or that the first ADD can make, has no fault", () => {
  const dir = newStateDir();
  expect(findStateFault(dir)).toBeUndefined();
  expect(findStateFault(`${dir}/below/that`)).toBeUndefined();
  Store.open(dir, "b1")[Symbol.dispose]();
  expect(findStateFault(dir)).toBeUndefined();
});

test.each([
  ["something else", "not a database at all, and long enough to be one ".repeat(9)],
  ["an empty file", ""],
])("%s is corrupt", (_, content) => {
  const dir = newStateDir();
  Store.open(dir, "b1")[Symbol.dispose]();
  writeFileSync(`${dir}/state.db`, content);
  expect(findStateFault(dir)).toMatchObject({ kind: "corrupt" });
});

test("another program's database is corrupt, a newer wg-cni's is named as such", () => {
  const dir = newStateDir();
  Store.open(dir, "b1")[Symbol.dispose]();
  for (const [version, kind] of [
    [0, "corrupt"],
    [99, "version"],
  ] as const) {
    using database = new Database(`${dir}/state.db`);
    database.run(`PRAGMA user_version = ${version}`);
    database.run("PRAGMA wal_checkpoint(TRUNCATE)");
    expect(findStateFault(dir)).toMatchObject({ kind });
  }
});
