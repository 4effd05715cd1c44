// The agent's metrics in the Prometheus text format. Events are counted when they
// happen (event-series.ts); state is read when a scrape comes (series.ts) and
// forgotten with it, because thousands of peers would otherwise be kept twice.
import Counter from "prom-client/lib/counter.js";
import Gauge from "prom-client/lib/gauge.js";
import Histogram from "prom-client/lib/histogram.js";
import Registry from "prom-client/lib/registry.js";
import { attempt, messageOf } from "../net/error.ts";
import { escapeLines } from "../net/printable.ts";
import type { GateEvent } from "../plan/peers/gate-state.ts";
import type { AgentReport } from "../plan/report/agent-status.ts";
import { CallLogTail } from "./call-log-tail.ts";
import { eventSeries, type HistogramHead } from "./event-series.ts";
import type { AgentFacts, ScrapeFacts, SyncFacts } from "./facts.ts";
import { type HealthVerdict, judgeLiveness, judgeReadiness, type LoopFacts } from "./health.ts";
import type { Log } from "./log.ts";
import { ProblemLog } from "./problem-log.ts";
import { processSeries } from "./process.ts";
import { type SeriesHead, scrapeSeries, type Value } from "./series.ts";

/** Above this size, memory is collected after a scrape (3 ms); otherwise the agent would keep twice as much. */
const collectedBytes = 1024 * 1024;
/** The rest after a scrape, as a multiple of its duration: scrapes take at most a fifth of the time. */
const restFactor = 4;
/** A scrape that waits for the rest and is read then fits into the 10 s that Prometheus waits. */
const longestRestMs = 5000;

/** The library escapes line ends, quotes and backslashes of labels; nothing of ours has more than ASCII. */
function clean(text: string): string {
  return /[^\n\x20-\x7e]/.test(text) ? escapeLines(text, "\\\\") : text;
}

/** Probes of readiness may come as often as they like; an answer costs a few milliseconds. */
const askPathsEveryMs = 250;

export class Metrics implements Disposable {
  readonly #registry = new Registry();
  readonly #registers = [this.#registry];
  readonly #callLog: CallLogTail;
  readonly #encoder = new TextEncoder();
  readonly #startedMs: number;
  readonly #startedAtMs: number;
  #pathsAskedMs = Number.NEGATIVE_INFINITY;
  #pathProblem: string | undefined;
  #lastPassAtMs: number | undefined;
  #lastPassMs: number | undefined;
  #problem: string | undefined;
  #scraped: ScrapeFacts | undefined;
  /** Ends when the next scrape may be read. */
  #rest: Promise<void> = Promise.resolve();
  /** The scrape whose reading has not begun. */
  #next: Promise<Uint8Array> | undefined;
  readonly #scrapeProblems: ProblemLog;

  readonly #syncs = this.#counter(eventSeries.syncs);
  readonly #syncDuration = this.#histogram(eventSeries.syncDuration);
  readonly #writes = this.#counter(eventSeries.writes);
  readonly #corrections = this.#counter(eventSeries.corrections);
  readonly #lastSync = this.#gauge(eventSeries.lastSync);
  readonly #desired = this.#gauge(eventSeries.desired);
  readonly #programmed = this.#gauge(eventSeries.programmed);
  readonly #problems = this.#counter(eventSeries.problems);
  readonly #gateChanges = this.#counter(eventSeries.gateChanges);
  readonly #repairSteps = this.#counter(eventSeries.repairSteps);
  readonly #eventLosses = this.#counter(eventSeries.eventLosses);
  readonly #releases = this.#counter(eventSeries.releases);
  readonly #rotationWaits = this.#gauge(eventSeries.rotationWaits);
  readonly #ready = this.#gauge(eventSeries.ready);
  readonly #readable = this.#gauge(eventSeries.readable);
  readonly #verbs = this.#histogram(eventSeries.verbs);
  readonly #verbFailures = this.#counter(eventSeries.verbFailures);
  readonly #malformed = this.#counter(eventSeries.malformed);

  constructor(
    private readonly facts: AgentFacts,
    log: Log,
  ) {
    this.#scrapeProblems = new ProblemLog(log);
    this.#startedMs = facts.monotonicMs();
    this.#startedAtMs = facts.nowMs();
    this.#callLog = new CallLogTail(facts.stateDir);
    this.#gauge(eventSeries.buildInfo).set({ version: facts.version }, 1);
    for (const result of ["ok", "failed"]) this.#syncs.inc({ result }, 0);
    for (const series of scrapeSeries)
      this.#add(series, () => (this.#scraped === undefined ? [] : series.values(this.#scraped)));
    for (const series of processSeries) this.#add(series, series.values);
  }

  [Symbol.dispose](): void {
    this.#callLog[Symbol.dispose]();
  }

  /** Is called after every reconcile pass; `problem` says why the mesh is not as the store says. */
  passEnded(problem: string | undefined): void {
    this.#lastPassMs = this.facts.monotonicMs();
    this.#lastPassAtMs = this.facts.nowMs();
    if (problem !== undefined && problem !== this.#problem) this.#problems.inc();
    this.#problem = problem;
  }

  synced({ result, durationMs, writes, corrections, objectCounts }: SyncFacts): void {
    this.#syncs.inc({ result });
    this.#syncDuration.observe(durationMs / 1000);
    this.#writes.inc(writes);
    for (const { do: step } of corrections) this.#corrections.inc({ step });
    for (const { kind, desired, programmed } of objectCounts) {
      this.#desired.set({ kind }, desired);
      this.#programmed.set({ kind }, programmed);
    }
    if (result === "ok") this.#lastSync.set(this.facts.nowMs() / 1000);
  }

  /** Is called if a sync threw before there was a report. */
  syncBroke(durationMs: number): void {
    this.synced({ result: "failed", durationMs, writes: 0, corrections: [], objectCounts: [] });
  }

  gateChanged(events: readonly GateEvent[]): void {
    for (const event of events) {
      this.#gateChanges.inc({ change: event.kind });
      if (event.kind === "silent") this.#repairSteps.inc({ step: event.step });
    }
  }

  eventsLost(): void {
    this.#eventLosses.inc();
  }

  podsReleased(pods: number): void {
    this.#releases.inc(pods);
  }

  /** The number of peers that the rotation of this node's keys waits for. */
  rotationWaits(peers: number): void {
    this.#rotationWaits.set(peers);
  }

  /** Describes the agent for `wg-cni status`. */
  agent(): AgentReport {
    const { ok, text } = this.readiness();
    const portGaps = this.facts.portGaps?.() ?? [];
    return {
      startedAtMs: this.#startedAtMs,
      ...(this.#lastPassAtMs === undefined ? {} : { lastPassAtMs: this.#lastPassAtMs }),
      ...(ok ? {} : { problem: text }),
      ...(portGaps.length === 0 ? {} : { portGaps }),
    };
  }

  liveness(): HealthVerdict {
    return judgeLiveness(this.#loop());
  }

  readiness(): HealthVerdict {
    const loop = judgeReadiness(this.#loop());
    if (!loop.ok) return loop;
    const problem = this.#findPathProblem();
    return problem === undefined ? loop : { ok: false, text: problem };
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /**
   * Returns the text as UTF-8, with what happened before the request. Reading thousands of peers is expensive and
   * any host may send requests, so there is a rest after each reading, and requests that come meanwhile share the
   * next one. None of them gets an older text: a client that has seen a pod start must find the ADD.
   */
  scrape(): Promise<Uint8Array> {
    this.#next ??= this.#rest.then(() => this.#read());
    return this.#next;
  }

  async #read(): Promise<Uint8Array> {
    this.#next = undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#rest = promise;
    const startMs = this.facts.monotonicMs();
    try {
      return await this.#write();
    } finally {
      const restMs = Math.min(restFactor * (this.facts.monotonicMs() - startMs), longestRestMs);
      if (restMs > 0) setTimeout(resolve, restMs).unref();
      else resolve();
    }
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

  /** Formats one metric at a time, because the pieces of a text with all peers need many times its megabytes. */
  async #print(): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for (const { name } of this.#registry.getMetricsAsArray())
      parts.push(this.#encoder.encode(`${clean(await this.#registry.getSingleMetricAsString(name))}\n`));
    return Buffer.concat(parts);
  }

  /** Errors of the store or the kernel must not hide the counters that report them. */
  #collect(): ScrapeFacts | undefined {
    const problems: string[] = [];
    const addProblem = ({ message }: Error) => {
      problems.push(message);
      return undefined;
    };
    attempt(Error, () => this.#readCallLog(), addProblem);
    const scraped = attempt(Error, () => this.facts.collect(), addProblem);
    const isWhole = problems.length === 0;
    const message = `a part of the metrics cannot be read: ${problems.join("; ")}`;
    this.#scrapeProblems.reportOnChange("scrape", isWhole ? undefined : message);
    this.#readable.set(isWhole ? 1 : 0);
    return scraped;
  }

  #readCallLog(): void {
    const { calls, malformed } = this.#callLog.read();
    for (const { verb, errorCode, durationMs } of calls) {
      const result = errorCode === undefined ? "ok" : "error";
      this.#verbs.observe({ verb, result }, durationMs / 1000);
      if (errorCode !== undefined) this.#verbFailures.inc({ verb, code: String(errorCode) });
    }
    this.#malformed.inc(malformed);
  }

  /** Probes may come often: the kernel is asked four times a second at most. */
  #findPathProblem(): string | undefined {
    const nowMs = this.facts.monotonicMs();
    if (nowMs - this.#pathsAskedMs < askPathsEveryMs) return this.#pathProblem;
    this.#pathsAskedMs = nowMs;
    this.#pathProblem = attempt(Error, () => this.facts.findPathProblem?.(), messageOf);
    return this.#pathProblem;
  }

  #loop(): LoopFacts {
    const storeProblem = this.facts.findStoreProblem?.();
    return {
      sinceMs: this.facts.monotonicMs() - (this.#lastPassMs ?? this.#startedMs),
      hasReconciled: this.#lastPassMs !== undefined,
      resyncMs: this.facts.resyncMs,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      ...(storeProblem === undefined ? {} : { storeProblem }),
    };
  }

  /** Overrides the library's `get`, because it would keep the values. */
  #add(head: SeriesHead, values: () => Value[]): void {
    const metric = head.type === "counter" ? this.#counter(head) : this.#gauge(head);
    const empty = metric.get.bind(metric);
    metric.get = async () => ({ ...(await empty()), values: values() });
  }

  #counter({ name, help, labels }: SeriesHead): Counter<string> {
    return new Counter({ name, help, labelNames: labels, registers: this.#registers });
  }

  #gauge({ name, help, labels }: SeriesHead): Gauge<string> {
    return new Gauge({ name, help, labelNames: labels, registers: this.#registers });
  }

  #histogram({ name, help, labels, buckets }: HistogramHead): Histogram<string> {
    return new Histogram({
      name,
      help,
      labelNames: labels,
      buckets: [...buckets],
      registers: this.#registers,
    });
  }
}
