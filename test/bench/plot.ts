// Rows to docs/operations/benchmark.svg: a bar for each median, and a line over the spread. Pure.
import { compare, type Row } from "./compare.ts";
import type { Measured } from "./samples.ts";

const width = 820;
const left = 300;
const right = 70;
const barHeight = 16;
const rowHeight = 22;
const groupGap = 12;
const top = 30;
const ours = "#2b6cb0";
const theirs = "#a0aec0";

/** A cold start takes so much longer that the other bars would be dots beside it. */
const isShown = ({ group, label }: Row) => group !== "cold start" && !label.includes("against cilium-cni");

export function benchmarkPlot(measured: Measured): string {
  const rows = compare(measured).calls.filter(isShown);
  const largest = Math.max(1, ...rows.map(({ spreadMs: [, high] }) => high));
  const scale = (milliseconds: number) => (milliseconds / largest) * (width - left - right);
  let y = top;
  const bars = rows.map((row, i) => {
    const isFirst = rows[i - 1]?.group !== row.group;
    if (isFirst && i > 0) y += groupGap;
    const drawn = drawRow(row, y, scale, isFirst);
    y += rowHeight;
    return drawn;
  });
  const height = y + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#1a202c">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    '<text x="10" y="18" font-weight="bold">Milliseconds of one call: median, and p10 to p90</text>',
    ...bars,
    "</svg>",
    "",
  ].join("\n");
}

function drawRow(row: Row, y: number, scale: (milliseconds: number) => number, isFirst: boolean): string {
  const { group, label, contender, medianMs, spreadMs } = row;
  const [low, high] = spreadMs.map((value) => left + scale(value)) as [number, number];
  const baseline = y + barHeight - 4;
  const middle = y + barHeight / 2;
  const colour = contender.startsWith("wg-cni") ? ours : theirs;
  return [
    isFirst ? `<text x="10" y="${baseline}" font-weight="bold">${group}</text>` : "",
    `<text x="${left - 8}" y="${baseline}" text-anchor="end">${label}</text>`,
    `<rect x="${left}" y="${y}" width="${scale(medianMs).toFixed(1)}" height="${barHeight}" fill="${colour}"/>`,
    `<path d="M${low.toFixed(1)} ${middle}H${high.toFixed(1)}" stroke="#1a202c"/>`,
    `<text x="${(Math.max(left + scale(medianMs), high) + 6).toFixed(1)}" y="${baseline}">${medianMs.toFixed(1)}</text>`,
  ].join("");
}
