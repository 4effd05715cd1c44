// An agent to which everything has happened that there is a metric for.
import { appendFileSync } from "node:fs";
import { Metrics } from "../../src/telemetry/metrics.ts";
import { makeFacts, synced } from "../telemetry/facts.ts";

const verbLines = `2026-11-21T01:02:03.456Z ADD ok 7.81
2026-11-21T01:02:04.000Z ADD ok 9.00
2026-11-21T01:02:05.000Z DEL 11 3000.00
rubbish
`;

/** Returns its answer to a scrape. `stateDir` is an empty directory. */
export async function scrapeBusyAgent(stateDir: string): Promise<string> {
  const { facts, log } = makeFacts(stateDir);
  using metrics = new Metrics(facts, log);
  metrics.passEnded("the store is locked");
  metrics.synced(synced);
  metrics.gateChanged([
    { kind: "opened", slot: "a" },
    { kind: "silent", slot: "a", step: "reset-endpoint", round: 1 },
  ]);
  metrics.eventsLost();
  metrics.podsReleased(2);
  appendFileSync(`${stateDir}/calls.log`, verbLines);
  return new TextDecoder().decode(await metrics.scrape());
}
