// Rows to docs/operations/benchmark.md. Pure: time, commit and machine are arguments.
import { compare, type Row, type Verdict } from "./compare.ts";
import { callCount, describeFloor, describeFloors } from "./report.ts";
import type { Measured } from "./samples.ts";
import { milliseconds } from "./table.ts";

export interface Occasion {
  /** 2026-01-31 */
  readonly date: string;
  readonly commit: string;
  /** "2 cores (x64), Linux 6.1.0" */
  readonly machine: string;
  /** Processes that wanted a core when the measurement began, on average. */
  readonly load: number;
}

export function benchmarkPage(measured: Measured, { date, commit, machine, load }: Occasion): string {
  const comparison = compare(measured);
  const floors = describeFloors(comparison).map((sentence) => `- ${sentence}`);
  return `${[
    "# Benchmark of the plugin",
    "`npm run bench` has written this page and its picture. It starts wg-cni and other plugins in turn, in one node of two, and compares their times. Debian's ptp, bridge and tuning are beside their current release and cilium-cni. Each main plugin has a pod that stays. Ratios hold for other machines, milliseconds do not.",
    `${date}, commit ${commit}, ${machine}, load ${load.toFixed(1)}. ${callCount(measured)} calls of each kind; the executables had been read into memory before.`,
    "![Medians of one call, with the spread from p10 to p90](benchmark.svg)",
    "## One call at a time",
    "A floor is what a program takes that does less, in the same run: an empty one, or STATUS of wg-cni, which asks the plugin server and is answered at once.",
    rowTable(comparison.calls),
    "## Many at once",
    "The time is that of the whole burst.",
    rowTable(comparison.bursts),
    "## Budgets that are not held",
    floors.length === 0 ? "None." : floors.join("\n"),
  ].join("\n\n")}\n`;
}

function rowTable(rows: readonly Row[]): string {
  const lines = rows.map(({ group, label, medianMs, spreadMs, ratio, verdict, failures }, i) => {
    const cells = [
      rows[i - 1]?.group === group ? "" : group,
      label,
      milliseconds(medianMs),
      spreadMs.map((value) => value.toFixed(1)).join(" to "),
      ratio === undefined ? "" : `${ratio.toFixed(2)} ×`,
      failures === undefined ? describeVerdict(verdict) : `${failures.count} failed`,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return [
    "| | Plugin | Median | p10 to p90, ms | Ratio | Budget |",
    "|---|---|--:|--:|--:|---|",
    ...lines,
  ].join("\n");
}

function describeVerdict(verdict: Verdict | undefined): string {
  if (verdict === undefined) return "";
  return verdict.kind === "held"
    ? `≤ ${verdict.budget}`
    : `**over ${verdict.budget}**${describeFloor(verdict)}`;
}
