// SECURITY.md: each promise names tests, and these exist.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";

const root = `${import.meta.dir}/../..`;
const page = readFileSync(`${root}/SECURITY.md`, "utf8");

/** Cells of the rows below "| Asset | Promise | Test |". */
function promises(): { readonly asset: string; readonly promise: string; readonly tests: string[] }[] {
  const rows = [...page.matchAll(/^\| Asset \| Promise \| Test \|\n\|---\|---\|---\|\n((?:\|.*\n)*)/gm)];
  return rows
    .flatMap(([, body]) => (body as string).split("\n"))
    .filter((line) => line !== "")
    .map((line) => {
      const [, asset = "", promise = "", tests = ""] = line.split(" | ").join("|").split("|");
      return { asset, promise, tests: [...tests.matchAll(/`([^`]+)`/g)].map(([, path]) => path as string) };
    });
}

test("each promise of SECURITY.md has a test, which exists", () => {
  const rows = promises();
  expect(rows.length).toBeGreaterThan(10);
  for (const { asset, promise, tests } of rows) {
    expect({ promise, has: tests.length > 0 }).toEqual({ promise, has: true });
    expect(asset).not.toBe("");
    for (const path of tests)
      expect({ path, exists: existsSync(`${root}/${path}`) }).toEqual({ path, exists: true });
  }
});

test("each attacker of SECURITY.md has promises", () => {
  const tables = page.split(/^\| Asset \| Promise \| Test \|\n\|---\|---\|---\|\n/m).slice(1);
  expect(tables.length).toBeGreaterThan(8);
  for (const table of tables) expect(table.startsWith("| ")).toBe(true);
});
