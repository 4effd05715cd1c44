// The tables of faults are whole: each kind of thing is broken twice at least, and no name is there twice.
import { expect, test } from "bun:test";
import { type Fault, kinds } from "./support/fault.ts";
import { type FaultTable, tables } from "./support/tables.ts";

const all: readonly Fault[] = Object.values(tables).flatMap((table: FaultTable) => table.faults);

test.each(kinds)("at least two faults are of the kind %s", (kind) => {
  expect(all.filter((fault) => fault.kind === kind).length).toBeGreaterThanOrEqual(2);
});

test("each fault has a name of its own", () => {
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
});
