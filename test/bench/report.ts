// Rows to the lines of a table for a terminal. Pure but for colours.
import { bold, cyan, dim, glyphs, green, red, yellow } from "../../scripts/stage/screen.ts";
import { type Comparison, compare, type Row, type Verdict } from "./compare.ts";
import type { Measured } from "./samples.ts";
import { milliseconds, table } from "./table.ts";

export interface Report {
  readonly lines: readonly string[];
  readonly missedBudgets: number;
}

const aligns = ["left", "left", "right", "right", "right", "left"] as const;
const head = ["", "", "median", "p10 to p90", "ratio", ""];

export function report(measured: Measured): Report {
  const comparison = compare(measured);
  const { calls, bursts } = comparison;
  return {
    missedBudgets: [...calls, ...bursts].filter(({ verdict }) => verdict?.kind === "missed").length,
    lines: [
      "",
      `${bold(cyan("One at a time"))}  ${dim(`${callCount(measured)} calls each, taking turns`)}`,
      "",
      ...table(head, cellsOf(calls), aligns),
      "",
      `${bold(cyan("All at once"))}  ${dim("wall-clock time of the whole burst")}`,
      "",
      ...table(head, cellsOf(bursts), aligns),
      "",
      ...describeFloors(comparison).map((sentence) => `  ${yellow(glyphs.dot)} ${sentence}`),
      "",
    ],
  };
}

/** The number of calls of each plugin and verb. */
export function callCount({ samples }: Measured): number {
  return Math.max(0, ...Object.values(samples).map((values) => values.length));
}

/** Returns a sentence for each budget that is not held, with what stops it. */
export function describeFloors({ calls, bursts }: Comparison): string[] {
  return [...calls, ...bursts].flatMap(({ group, label, ratio, medianMs, verdict }) => {
    if (verdict === undefined || verdict.kind === "held") return [];
    const found = ratio === undefined ? milliseconds(medianMs) : `${ratio.toFixed(2)} times`;
    const within = verdict.kind === "above" ? ", within the margin for a busy machine" : "";
    const why = verdict.floor === undefined ? within : `: ${verdict.floor.text}`;
    return [`${group} of ${label} takes ${found} instead of ${verdict.budget}${why}.`];
  });
}

function cellsOf(rows: readonly Row[]): string[][] {
  return rows.flatMap(({ group, label, medianMs, spreadMs, ratio, verdict, failures }, i) => {
    const isFirst = rows[i - 1]?.group !== group;
    const cells = [
      isFirst ? bold(group) : "",
      label,
      milliseconds(medianMs),
      spreadMs.map((value) => value.toFixed(1)).join(" to "),
      ratio === undefined ? "" : bold(`${ratio.toFixed(2)} ${glyphs.times}`),
      failures === undefined ? describeVerdict(verdict) : red(`${failures.count} failed: ${failures.first}`),
    ];
    return isFirst && i > 0 ? [[], cells] : [cells];
  });
}

/** The value under which no call can be, to be printed after the budget. */
export function describeFloor({ floor }: Verdict): string {
  return floor?.value === undefined ? "" : `, floor ${floor.value}`;
}

function describeVerdict(verdict: Verdict | undefined): string {
  if (verdict === undefined) return "";
  const text = `${glyphs.atMost} ${verdict.budget}`;
  if (verdict.kind === "held") return green(`${glyphs.yes} ${text}`);
  const floor = describeFloor(verdict);
  return verdict.kind === "above"
    ? yellow(`${glyphs.dot} ${text}${floor}`)
    : red(`${glyphs.no} over budget (${text}${floor})`);
}
