// Tables of the benchmarks' reports: numbers as people read them, and whether a
// budget is met. Pure but for colours.

import { bold, dim, fit, glyphs, green, red, row } from "../../scripts/stage/screen.ts";
import { quantile } from "./samples.ts";

const over = "over budget";

/** A ratio, and its verdict where it has a budget. */
export function verdict(ratio: number | undefined, budget: number | undefined): string[] {
  if (ratio === undefined) return ["", ""];
  const text = `${ratio.toFixed(2)} ${glyphs.times}`;
  if (budget === undefined) return [text, ""];
  return [bold(text), judge(ratio, budget, budget.toFixed(1))];
}

/** Says if a value is within its budget; `text`: the budget, with its unit. */
export function judge(value: number, budget: number, text: string): string {
  const limit = `${glyphs.atMost} ${text}`;
  return value <= budget ? green(`${glyphs.yes} ${limit}`) : red(`${glyphs.no} ${over} (${limit})`);
}

/** True for a row with a budget that was missed. */
export function isOver(cells: readonly string[]): boolean {
  return cells.some((cell) => cell.includes(over));
}

export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  aligns: readonly ("left" | "right")[],
): string[] {
  const columns = fit([head, ...rows], aligns);
  return [dim(row(columns, head)), ...rows.map((cells) => row(columns, cells))];
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

export function milliseconds(value: number): string {
  return `${value.toFixed(Math.abs(value) < 100 ? 2 : 0)} ms`;
}

/** In powers of 1024, as the kernel counts memory. */
export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  return value < 1024 ** 2 ? `${(value / 1024).toFixed(1)} KB` : `${(value / 1024 ** 2).toFixed(1)} MB`;
}
