// The node agent: keeps the mesh as the store says, and decides what only time
// shows. Here is when it looks; what a look does is reconcile-pass.ts. Stopping the agent
// leaves the data plane running; so does killing it, since what it has decided
// is in the store.
//
//   kernel event ────┐
//   store, records ──┼─► settle, at most once a spacing ─► look
//   poll, resync ────┘
import { firewallEvents, type KernelEvent, routeEvents } from "../netlink/events.ts";
import { readSettings } from "../reconcile/node.ts";
import type { Session } from "../reconcile/session.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { StoreError } from "../state/error.ts";
import { collectFacts } from "../telemetry/collect.ts";
import { agentSocket, HttpServer } from "../telemetry/http.ts";
import type { Log } from "../telemetry/log.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { agentPages } from "../telemetry/pages.ts";
import { concernsMesh, concernsPods } from "./event-filter.ts";
import { type Watcher, watchKernel, watchStore } from "./kernel-events.ts";
import { spacingAfter } from "./pace.ts";
import { Look } from "./reconcile-pass.ts";
import { Underlay } from "./underlay-filter.ts";

/** Changes come in bursts; the first look waits for the rest of one. */
const settleMs = 50;
/** Until others hear of a pod whose address is the network's, they send to it outside the tunnel. */
const podSettleMs = 10;
/** Calico resyncs every 90 s; events make it a safety net. */
const resyncMs = 60_000;
/** After a look that was broken off, and for a node that is not up. */
const retryMs = 5000;
/** A look at thousands of peers takes its time; looking takes at most this part of ours. */
const maxLoad = 1 / 20;
/** Between two tries to have the address of the metrics. */
const listenRetryMs = 30_000;

export interface AgentOptions {
  readonly stateDir: string;
  readonly version: string;
  /** Name of the Kubernetes Node that this node's identity comes from; absent where `up` has given it one. */
  readonly node?: string;
  readonly log: Log;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** Called after every look, with the failure that is standing, if any. */
  readonly onLook: (problem: string | undefined) => void;
  /** Where this agent is there to leave the mesh: what is still to be done, undefined when it has left. */
  readonly leaving?: () => string | undefined;
}

export class Agent implements Disposable {
  readonly #watchers: Disposable[] = [];
  readonly #underlay = new Underlay();
  readonly #metrics: Metrics;
  readonly #http: HttpServer;
  /** For probes: the port of the other one may be somebody else's. */
  readonly #socket: HttpServer;
  readonly #look: Look;
  #soon: ReturnType<typeof setTimeout> | undefined;
  #poll: ReturnType<typeof setTimeout> | undefined;
  /** When the look that `#soon` is for is due. */
  #dueMs = 0;
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #lastPodLookMs = Number.NEGATIVE_INFINITY;
  /** Processor time of the last look. */
  #lastCostMs = 0;
  #lossSaidMs = Number.NEGATIVE_INFINITY;
  readonly #reasons = new Set<string>();
  #problem: string | undefined;

  constructor(
    private readonly session: Session,
    private readonly options: AgentOptions,
  ) {
    const { log, wallClock, stateDir, version, node } = options;
    this.#metrics = new Metrics(
      {
        ...{ version, stateDir, resyncMs, nowMs: wallClock, monotonicMs: () => performance.now() },
        collect: () => collectFacts(session, this.#look.state, this.#look.kubernetes, wallClock()),
      },
      log,
    );
    const serving = { pages: agentPages(this.#metrics), log, retryMs: listenRetryMs };
    this.#http = new HttpServer(serving);
    this.#socket = new HttpServer(serving);
    const lookSoon = (reason: string) => this.#lookSoon(reason);
    this.#look = new Look(session, {
      ...{ log, wallClock, lookSoon, version },
      ...(node === undefined ? {} : { node }),
      ...{ metrics: this.#metrics, underlay: this.#underlay },
    });
  }

  /** Looks once, then at every change. */
  start(): void {
    const heard = (event: KernelEvent) => this.#heard(event);
    const lost = (reason: string) => this.#lost(reason);
    this.#watchers.push(watchKernel(routeEvents, heard, lost));
    if (this.session.kernel.firewall !== undefined)
      this.#watchers.push(watchKernel(firewallEvents, heard, lost));
    else this.options.log.warn(withoutNftables);
    this.#watchers.push(watchStore(this.options.stateDir, () => this.#storeChanged()));
    const resync = setInterval(() => this.#lookSoon("resync"), resyncMs);
    this.#watchers.push({ [Symbol.dispose]: () => clearInterval(resync) } satisfies Watcher);
    this.#socket.listen(agentSocket(this.options.stateDir));
    this.#reasons.add("start");
    this.#lookNow();
  }

  /** True while looks follow one another: what the service manager's watchdog is to be told. */
  get isAlive(): boolean {
    return this.#metrics.liveness().ok;
  }

  /** True where the Kubernetes API has this node's record as it is, and where there is none to have it. */
  get isPublished(): boolean {
    return this.#look.kubernetes?.published ?? true;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#soon);
    clearTimeout(this.#poll);
    for (const part of [this.#http, this.#socket, this.#metrics, this.#look, ...this.#watchers])
      part[Symbol.dispose]();
  }

  #heard(event: KernelEvent): void {
    if (this.#isOwn(event)) return;
    const { settings, node } = this.#look.state ?? {};
    if (this.#underlay.isConcernedBy(event)) this.#lookSoon("underlay");
    // Before the first sync nothing is known, and nothing is there that an event could be about.
    else if (settings !== undefined && concernsMesh(event, settings, node?.podCIDRs ?? []))
      this.#lookSoon(event.about);
    else if (settings !== undefined && concernsPods(event, settings, this.#look.podLinks)) this.#podsSoon();
  }

  /**
   * A route or a set that this agent itself has changed stands as it should: a second look at
   * thousands of peers would find nothing. Links and addresses bring more about than was asked for.
   */
  #isOwn({ about, port }: KernelEvent): boolean {
    const { host, firewall } = this.session.kernel;
    return (about === "route" && port === host.port) || (about === "firewall" && port === firewall?.port);
  }

  /** One line a resync at most: where events come faster than they are read, they mostly go on so. */
  #lost(reason: string): void {
    this.#metrics.eventsLost();
    this.#lookSoon(`events were lost (${reason})`);
    const nowMs = performance.now();
    if (nowMs - this.#lossSaidMs < resyncMs) return;
    this.#lossSaidMs = nowMs;
    this.options.log.warn("the kernel's events came faster than they were read: all is looked at again", {
      reason,
    });
  }

  /** Attachments change with every pod and mostly need nothing of us; settings, identity and peers have a generation. */
  #storeChanged(): void {
    if (this.#reads(() => this.session.store.generation !== this.#look.generation)) this.#lookSoon("store");
    if (this.#reads(() => this.#look.arePodsNew)) this.#podsSoon();
  }

  #podsSoon(): void {
    this.#lookSoon(
      "pods",
      Math.max(performance.now() + podSettleMs, this.#lastPodLookMs + spacingAfter(this.#lastCostMs)),
    );
  }

  #reads(isNew: () => boolean): boolean {
    try {
      return isNew();
    } catch (error) {
      // What cannot be read is the look's to say.
      if (error instanceof StoreError) return true;
      throw error;
    }
  }

  #lookSoon(
    reason: string,
    dueMs = Math.max(performance.now() + settleMs, this.#lastLookMs + spacingAfter(this.#lastCostMs)),
  ): void {
    this.#reasons.add(reason);
    if (this.#soon !== undefined && this.#dueMs <= dueMs) return;
    clearTimeout(this.#soon);
    this.#dueMs = dueMs;
    this.#soon = setTimeout(() => this.#lookNow(), Math.max(0, dueMs - performance.now()));
  }

  #lookNow(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    const reasons = new Set(this.#reasons);
    this.#reasons.clear();
    // What could not be done is tried again.
    if (this.#problem !== undefined) reasons.add("retry");
    const spent = process.cpuUsage();
    this.#lastLookMs = performance.now();
    const wakeInMs = this.#run(reasons);
    // Whatever it looked for: each leads to a write to the API.
    if (reasons.has("pods") || this.#look.tookPods) this.#lastPodLookMs = this.#lastLookMs;
    this.#metrics.looked(this.#problem);
    this.options.onLook(this.#problem);
    // Work counts, not waiting for somebody's lock: that is to be noticed soon when it is over.
    const { user, system } = process.cpuUsage(spent);
    this.#lastCostMs = (user + system) / 1000;
    this.#pollIn(Math.max(wakeInMs, this.#lastCostMs / maxLoad));
  }

  #run(reasons: ReadonlySet<string>): number {
    try {
      this.#http.listen(readSettings(this.session.store).metricsAddress);
      const { problem, wakeInMs } = this.#look.run(reasons);
      this.#stand(problem ?? this.options.leaving?.(), problem === undefined);
      return wakeInMs;
    } catch (error) {
      if (error instanceof NotUpError && this.options.leaving !== undefined) {
        this.#stand(this.options.leaving(), true);
        return retryMs;
      }
      this.#stand(error instanceof Error ? error.message : String(error), error instanceof NotUpError);
      return retryMs;
    }
  }

  #pollIn(delayMs: number): void {
    clearTimeout(this.#poll);
    this.#poll = setTimeout(() => {
      this.#reasons.add("poll");
      this.#lookNow();
    }, delayMs);
  }

  /** One line when a problem appears, changes or passes; none while it stands. */
  #stand(problem: string | undefined, expected: boolean): void {
    if (problem === this.#problem) return;
    const { log } = this.options;
    if (problem === undefined) log.info("the problem has passed");
    else if (expected) log.info(problem);
    else log.error(problem);
    this.#problem = problem;
  }
}

const withoutNftables =
  "the kernel has no nftables: what goes in clear is encrypted or refused as ever, but not counted, and what comes in clear is not dropped, in strict mode neither. Load its module (modprobe nf_tables) and restart the agent.";
