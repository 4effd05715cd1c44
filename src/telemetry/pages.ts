// The agent's pages: /metrics for Prometheus, /agent for `wg-cni status`, and /healthz and /readyz for probes,
// with a sentence that says the reason if the answer is no.
import type { HealthVerdict } from "./health.ts";
import { type Pages, plain } from "./http.ts";
import type { Page } from "./http-listener.ts";
import type { Metrics } from "./metrics.ts";

export function agentPages(metrics: Metrics): Pages {
  return {
    "/metrics": async () => ({
      status: 200,
      contentType: metrics.contentType,
      body: await metrics.scrape(),
    }),
    "/agent": () => ({
      status: 200,
      contentType: "application/json",
      body: `${JSON.stringify(metrics.agent())}\n`,
    }),
    "/healthz": () => verdictPage(metrics.liveness()),
    "/readyz": () => verdictPage(metrics.readiness()),
  };
}

function verdictPage({ ok, text }: HealthVerdict): Page {
  return plain(ok ? 200 : 503, text);
}
