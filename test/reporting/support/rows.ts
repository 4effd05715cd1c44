// The rows of the last run of each fault, kept for the document.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { repository } from "../../lab/paths.ts";
import type { Row } from "./run.ts";
import { type FaultTable, type TableTitle, tables } from "./tables.ts";

const directory = `${repository}/.cache/reporting`;

/** Returns the rows in the order of the table. */
export function readRows(title: TableTitle): Row[] {
  const path = pathOf(title);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as Row[]) : [];
}

/** Rows of faults that were not made this time stay as they were. */
export function keepRows(title: TableTitle, rows: readonly Row[]): void {
  const { faults }: FaultTable = tables[title];
  mkdirSync(directory, { recursive: true });
  const known = new Map([...readRows(title), ...rows].map((row) => [row.fault, row]));
  const kept = faults.flatMap(({ name }) => known.get(name) ?? []);
  writeFileSync(pathOf(title), JSON.stringify(kept, undefined, 1));
}

function pathOf(title: TableTitle): string {
  return `${directory}/${title.replaceAll(" ", "-")}.json`;
}
