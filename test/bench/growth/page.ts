// Figures to a table in Markdown: one row for each figure, one column for each number of peers, and how much the
// figure grows between the last two of them. Pure.

import { bytes, median, milliseconds } from "../table.ts";
import type { Growth } from "./figures.ts";

interface Row {
  readonly label: string;
  readonly figureOf: (growth: Growth) => number;
  readonly format: (value: number) => string;
}

const rows: readonly Row[] = [
  { label: "sync with nothing to do", figureOf: noopMs, format: milliseconds },
  {
    label: "writes of it",
    figureOf: ({ noop }) => Math.max(...noop.map(({ writes }) => writes)),
    format: String,
  },
  {
    label: "processor time of the whole pass",
    figureOf: ({ noop }) => median(noop.map(({ cpuMs }) => cpuMs)),
    format: milliseconds,
  },
  {
    label: "what one changed peer adds to the sync",
    figureOf: (growth) => median(growth.change.map(({ syncMs }) => syncMs)) - noopMs(growth),
    format: milliseconds,
  },
  {
    label: "from the store to the kernel, one peer",
    figureOf: ({ change }) => median(change.map(({ programmedMs }) => programmedMs)),
    format: milliseconds,
  },
  { label: "processor time of a minute at rest", figureOf: ({ restMs }) => restMs, format: milliseconds },
  { label: "memory at rest", figureOf: ({ memory }) => memory.resident, format: bytes },
  { label: "memory at its peak", figureOf: ({ memory }) => memory.peak, format: bytes },
  { label: "first sync", figureOf: ({ firstSync }) => median(firstSync.ours), format: milliseconds },
  {
    label: "first sync, against `wg setconf` and `ip -batch`",
    figureOf: ({ firstSync }) => median(firstSync.ours) / median(firstSync.commands),
    format: (ratio) => `${ratio.toFixed(2)} ×`,
  },
];

/** `growths`: by rising numbers of peers. */
export function growthTable(growths: readonly Growth[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const counts = growths.map(({ peers }) => `${peers.toLocaleString("en")} peers`);
  const [before, last] = growths.slice(-2);
  return [
    line(["", ...counts, "growth of the last step"]),
    `|---|${"--:|".repeat(growths.length + 1)}`,
    ...rows.map(({ label, figureOf, format }) => {
      const factor =
        before === undefined || last === undefined ? "" : growthOf(figureOf(before), figureOf(last));
      return line([label, ...growths.map((growth) => format(figureOf(growth))), factor]);
    }),
  ].join("\n");
}

function noopMs({ noop }: Growth): number {
  return median(noop.map(({ syncMs }) => syncMs));
}

/** Empty if nothing can be said: there was nothing, or noise made it negative. */
function growthOf(before: number, after: number): string {
  return before > 0 && after > 0 ? `${(after / before).toFixed(1)} ×` : "";
}
