// docs/operations/faults.md has a row for each fault that the tests of reports make, and no untrue one.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import type { Fault } from "../reporting/support/fault.ts";
import { type FaultTable, tables } from "../reporting/support/tables.ts";

const page = readFileSync(`${import.meta.dir}/../../docs/operations/faults.md`, "utf8");
const rows = page
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| Fault |"))
  .map((line) => line.slice(2, line.indexOf(" | ", 2)));
const faults: readonly Fault[] = Object.values(tables).flatMap((table: FaultTable) => table.faults);

test("the page has one row for each fault that is made", () => {
  expect(rows).toEqual(faults.map(({ name }) => name));
  expect(rows.length).toBeGreaterThan(30);
});

test("no row has something untrue in it", () => {
  expect(page).not.toContain("**untrue:");
});
