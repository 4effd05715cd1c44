// docs/reference/metrics.md: each metric with its type, labels and help.
import { eventSeries, type HistogramHead } from "../../src/telemetry/event-series.ts";
import { processSeries } from "../../src/telemetry/process.ts";
import { type SeriesHead, scrapeSeries } from "../../src/telemetry/series.ts";
import { code, page, sentence, table } from "./markdown.ts";

export function metricsPage(): string {
  return page(
    "# Metrics",
    `What the agent serves at \`/metrics\`, in the Prometheus text format. Which metric answers which
question is in [operations/metrics.md](../operations/metrics.md). A histogram NAME has the samples
\`NAME_bucket\`, \`NAME_sum\` and \`NAME_count\`.`,
    "## State, read at each scrape",
    `The values of the labels \`state\` of peers and of host encryption are in the
[runbook](../operations/runbook.md#states-of-a-peer).`,
    metricTable(scrapeSeries),
    "## Events, counted since the agent's start",
    metricTable(Object.values(eventSeries)),
    "## The agent's process",
    metricTable(processSeries),
  );
}

function metricTable(heads: readonly (SeriesHead | HistogramHead)[]): string {
  const rows = heads.map(({ name, type, help, labels }) => [
    code(name),
    type,
    labels.map(code).join(", "),
    sentence(help),
  ]);
  return table(["Metric", "Type", "Labels", "Meaning"], rows);
}
