// The agent's metrics in the Prometheus text format. What happens is counted when
// it happens; what is, is read when a scrape comes (series.ts) and forgotten with
// it: thousands of peers would otherwise be kept twice.
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Histogram from "prom-client/lib/histogram.js";
import Registry from "prom-client/lib/registry.js";
import { escapeLines } from "../net/printable.ts";
import type { GateNews } from "../plan/peers/gate.ts";
import { VerbTail } from "./call-log-tail.ts";
import type { AgentFacts, ScrapeFacts, SyncFacts } from "./facts.ts";
import { judgeLiveness, judgeReadiness, type LoopFacts, type Verdict } from "./health.ts";
import type { Log } from "./log.ts";
import { processSeries } from "./process.ts";
import { type SeriesHead, scrapeSeries, type Value } from "./series.ts";

/** Nothing to do takes milliseconds, thousands of peers at once take seconds. */
const syncBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** An ADD takes some 8 ms; one that programs the mesh first, or waits for a lock, up to a minute. */
const verbBuckets = [0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];
/** Past this, a scrape's garbage is worth a collection (3 ms): without one, memory grows by twice as much. */
const collectedBytes = 1024 * 1024;
/** After a scrape, so many times what it took pass before the next one: scrapes take a fifth of our time at most. */
const restFactor = 4;

/** The library escapes line ends, quotes and backslashes of labels; nothing of ours has more than ASCII. */
function clean(text: string): string {
  return /[^\n\x20-\x7e]/.test(text) ? escapeLines(text, "\\\\") : text;
}

export class Metrics implements Disposable {
  readonly #registry = new Registry();
  readonly #registers = [this.#registry];
  readonly #verbTail: VerbTail;
  readonly #encoder = new TextEncoder();
  readonly #startedMs: number;
  #lastLookMs: number | undefined;
  #problem: string | undefined;
  #scraped: ScrapeFacts | undefined;
  #scraping: Promise<Uint8Array> | undefined;
  #scrapeProblem = "";

  readonly #syncs = this.#counter("wg_cni_syncs_total", "Comparisons of kernel and store, by result.", [
    "result",
  ]);
  readonly #syncDuration = new Histogram({
    name: "wg_cni_sync_duration_seconds",
    help: "Time that a comparison of kernel and store took, with what it changed.",
    buckets: syncBuckets,
    registers: this.#registers,
  });
  readonly #writes = this.#counter("wg_cni_sync_writes_total", "Changes that were asked of the kernel.");
  readonly #corrections = this.#counter(
    "wg_cni_drift_corrections_total",
    "Steps that put back what somebody else had changed in the kernel, by step.",
    ["step"],
  );
  readonly #lastSync = this.#gauge(
    "wg_cni_last_sync_timestamp_seconds",
    "Unix time of the last comparison of kernel and store that ended well; 0 is never.",
  );
  readonly #desired = this.#gauge("wg_cni_objects_desired", "Kernel objects that there should be, by kind.", [
    "kind",
  ]);
  readonly #programmed = this.#gauge(
    "wg_cni_objects_programmed",
    "Kernel objects that there are after the last comparison, by kind.",
    ["kind"],
  );
  readonly #problems = this.#counter(
    "wg_cni_problems_total",
    "Problems that appeared; one that stands counts once.",
  );
  readonly #gateChanges = this.#counter("wg_cni_gate_changes_total", "What the gate saw or did, by change.", [
    "change",
  ]);
  readonly #repairSteps = this.#counter(
    "wg_cni_repair_steps_total",
    "Rungs of the ladder that were climbed for peers that send nothing back, by step.",
    ["step"],
  );
  readonly #eventLosses = this.#counter(
    "wg_cni_event_losses_total",
    "Times that the kernel's events overran the agent, which then looked at everything.",
  );
  readonly #releases = this.#counter(
    "wg_cni_pods_released_total",
    "Pods that were released because their network namespace was gone and no DEL came.",
  );
  readonly #ready = this.#gauge("wg_cni_ready", "1 where /readyz says ok.");
  readonly #readable = this.#gauge(
    "wg_cni_facts_readable",
    "1 where the state of node and peers could be read for this scrape.",
  );
  readonly #verbs = new Histogram({
    name: "wg_cni_verb_duration_seconds",
    help: "Time that calls of the plugin took, by verb and result, since the agent's start.",
    labelNames: ["verb", "result"],
    buckets: verbBuckets,
    registers: this.#registers,
  });
  readonly #verbFailures = this.#counter(
    "wg_cni_verb_failures_total",
    "Calls of the plugin that failed, by verb and code of the CNI error, since the agent's start.",
    ["verb", "code"],
  );
  readonly #malformed = this.#counter(
    "wg_cni_verb_lines_malformed_total",
    "Lines of the verb log that are none.",
  );

  constructor(
    private readonly facts: AgentFacts,
    private readonly log: Log,
  ) {
    this.#startedMs = facts.monotonicMs();
    this.#verbTail = new VerbTail(facts.stateDir);
    this.#gauge("wg_cni_build_info", "Version of this executable; always 1.", ["version"]).set(
      { version: facts.version },
      1,
    );
    for (const result of ["ok", "failed"]) this.#syncs.inc({ result }, 0);
    for (const series of scrapeSeries)
      this.#add(series, () => (this.#scraped === undefined ? [] : series.values(this.#scraped)));
    for (const series of processSeries) this.#add(series, series.values);
  }

  [Symbol.dispose](): void {
    this.#verbTail[Symbol.dispose]();
  }

  /** After every look; `problem` is why the mesh is not as the store says. */
  looked(problem: string | undefined): void {
    this.#lastLookMs = this.facts.monotonicMs();
    if (problem !== undefined && problem !== this.#problem) this.#problems.inc();
    this.#problem = problem;
  }

  synced({ result, durationMs, writes, corrections, programming }: SyncFacts): void {
    this.#syncs.inc({ result });
    this.#syncDuration.observe(durationMs / 1000);
    this.#writes.inc(writes);
    for (const { do: step } of corrections) this.#corrections.inc({ step });
    for (const { kind, desired, programmed } of programming) {
      this.#desired.set({ kind }, desired);
      this.#programmed.set({ kind }, programmed);
    }
    if (result === "ok") this.#lastSync.set(this.facts.nowMs() / 1000);
  }

  /** It threw before there was a report. */
  syncBroke(durationMs: number): void {
    this.synced({ result: "failed", durationMs, writes: 0, corrections: [], programming: [] });
  }

  gateChanged(news: readonly GateNews[]): void {
    for (const one of news) {
      this.#gateChanges.inc({ change: one.kind });
      if (one.kind === "silent") this.#repairSteps.inc({ step: one.rung });
    }
  }

  eventsLost(): void {
    this.#eventLosses.inc();
  }

  podsReleased(pods: number): void {
    this.#releases.inc(pods);
  }

  liveness(): Verdict {
    return judgeLiveness(this.#loop());
  }

  readiness(): Verdict {
    return judgeReadiness(this.#loop());
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /**
   * The text, as UTF-8. Whoever asks while it is being made gets the same, and for some time afterwards:
   * reading thousands of peers takes its time, and anybody may ask as often as they like.
   */
  scrape(): Promise<Uint8Array> {
    const startMs = this.facts.monotonicMs();
    this.#scraping ??= this.#write().finally(() => {
      const restMs = restFactor * (this.facts.monotonicMs() - startMs);
      const forget = () => {
        this.#scraping = undefined;
      };
      if (restMs > 0) setTimeout(forget, restMs).unref();
      else forget();
    });
    return this.#scraping;
  }

  async #write(): Promise<Uint8Array> {
    this.#scraped = this.#collect();
    this.#ready.set(this.readiness().ok ? 1 : 0);
    const text = await this.#print().finally(() => {
      this.#scraped = undefined;
    });
    if (text.length > collectedBytes) Bun.gc(true);
    return text;
  }

  /** One metric at a time: the text of all peers is megabytes, and its pieces many times that. */
  async #print(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (const { name } of this.#registry.getMetricsAsArray())
      parts.push(this.#encoder.encode(`${clean(await this.#registry.getSingleMetricAsString(name))}\n`));
    return Buffer.concat(parts);
  }

  /** A store that is locked or a kernel that refuses must not hide the counters that tell of it. */
  #collect(): ScrapeFacts | undefined {
    const problems: string[] = [];
    const attempt = <T>(read: () => T): T | undefined => {
      try {
        return read();
      } catch (error) {
        problems.push(error instanceof Error ? error.message : String(error));
        return undefined;
      }
    };
    attempt(() => this.#readVerbs());
    const scraped = attempt(() => this.facts.collect());
    const problem = problems.join("; ");
    if (problem !== "" && problem !== this.#scrapeProblem)
      this.log.warn(`a part of the metrics cannot be read: ${problem}`);
    this.#scrapeProblem = problem;
    this.#readable.set(problem === "" ? 1 : 0);
    return scraped;
  }

  #readVerbs(): void {
    const { verbs, malformed } = this.#verbTail.read();
    for (const { verb, errorCode, durationMs } of verbs) {
      const result = errorCode === undefined ? "ok" : "error";
      this.#verbs.observe({ verb, result }, durationMs / 1000);
      if (errorCode !== undefined) this.#verbFailures.inc({ verb, code: String(errorCode) });
    }
    this.#malformed.inc(malformed);
  }

  #loop(): LoopFacts {
    return {
      sinceMs: this.facts.monotonicMs() - (this.#lastLookMs ?? this.#startedMs),
      looked: this.#lastLookMs !== undefined,
      resyncMs: this.facts.resyncMs,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
    };
  }

  /** The library keeps the values that it is given; these are handed over and not kept. */
  #add({ name, type, help, labels }: SeriesHead, values: () => Value[]): void {
    const metric = type === "counter" ? this.#counter(name, help, labels) : this.#gauge(name, help, labels);
    const empty = metric.get.bind(metric);
    metric.get = async () => ({ ...(await empty()), values: values() });
  }

  #counter(name: string, help: string, labelNames: readonly string[] = []): Counter<string> {
    return new Counter({ name, help, labelNames, registers: this.#registers });
  }

  #gauge(name: string, help: string, labelNames: readonly string[] = []): Gauge<string> {
    return new Gauge({ name, help, labelNames, registers: this.#registers });
  }
}
