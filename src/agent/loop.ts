// The node agent's control loop: it decides when a reconcile pass runs. The pass itself is
// reconcile-pass.ts. The data plane keeps running if the agent is stopped or killed, because
// every decision of the agent is in the store.
//
//   kernel event ────┐
//   store, records ──┼─► settle, at the pace of pace.ts ─► reconcile pass
//   poll, resync ────┘
import { attempt, messageOf } from "../net/error.ts";
import { Spacing } from "../net/spacing.ts";
import { firewallEvents, type KernelEvent, routeEvents } from "../netlink/events.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { Session } from "../reconcile/session.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { StoreError } from "../state/error.ts";
import { collectFacts } from "../telemetry/collect.ts";
import { agentSocket, HttpServer } from "../telemetry/http.ts";
import type { Log } from "../telemetry/log.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { agentPages } from "../telemetry/pages.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";
import { Deadlines, type SetDeadline } from "./deadlines.ts";
import { affectsMesh, affectsPods } from "./event-filter.ts";
import { watchKernel, watchStore } from "./kernel-events.ts";
import { Pace } from "./pace.ts";
import { PodRoutes } from "./pod-routes.ts";
import { pollMs, ReconcilePass } from "./reconcile-pass.ts";
import { StoreFile } from "./store-file.ts";
import type { Trigger, Triggers } from "./triggers.ts";
import { UnderlayFilter } from "./underlay-filter.ts";

/** Another process changes the kernel in several steps; the pass after the first event waits this long for the rest. */
const settleMs = 50;
/** A record is complete when it comes; those that come in one answer of the API are taken together. */
const recordSettleMs = 5;
/** Peers send to a pod outside the tunnel until they know its address, so a pass for pods waits less than one for the kernel. */
const podSettleMs = 10;
/** At most twenty passes a second run, however much happens, */
const spacingMs = 50;
/** and at most four for pods, because each leads to a write to the API. */
const podSpacingMs = 250;
/** A DEL that has removed its pod's route has removed the record too by then, and a burst of pods is judged at once. */
const podRoutesMs = 250;
/** The safety net in case an event is missed. Calico resyncs every 90 s. */
const resyncMs = 60_000;
/** The delay after a pass that failed, and for a node that is not up. */
const retryMs = 5000;
/** A pass over thousands of peers takes a while; polling uses at most this part of the time, unless a poll is due. */
const maxLoad = 1 / 20;
/** The delay between two attempts to listen on the address of the metrics. */
const listenRetryMs = 30_000;

export interface AgentOptions {
  readonly stateDir: string;
  readonly version: string;
  /** The name of the Kubernetes Node that this node's identity comes from; absent if `up` has set the identity. */
  readonly node?: string;
  readonly log: Log;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** The agent calls this after every pass, with the problem that persists, if any. */
  readonly onReconciled: (problem: string | undefined) => void;
  /** Set if this agent runs to leave the mesh; returns what is left to do, or undefined once the node has left. */
  readonly leaving?: () => string | undefined;
}

export class Agent implements Disposable {
  readonly #watchers: Disposable[] = [];
  readonly #underlay = new UnderlayFilter();
  readonly #podRoutes = new PodRoutes();
  readonly #metrics: Metrics;
  readonly #http: HttpServer;
  /** A Unix socket for probes: another process may own the port of `#http`. */
  readonly #socket: HttpServer;
  readonly #pass: ReconcilePass;
  readonly #deadlines = new Deadlines();
  /** Fires when the earliest of `#deadlines` is due. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #pace = new Pace(spacingMs);
  /** A pass for pods does not wait because of other passes. */
  readonly #podPace = new Pace(podSpacingMs);
  /** Events that overrun the agent mostly keep doing so. */
  readonly #lossLines = new Spacing(resyncMs);
  readonly #triggers = new Set<Trigger>();
  #problem: string | undefined;
  readonly #problems: ProblemLog;
  readonly #storeFile: StoreFile;

  constructor(
    private readonly session: Session,
    private readonly options: AgentOptions,
  ) {
    const { log, wallClock, stateDir, version, node } = options;
    this.#problems = new ProblemLog(log);
    this.#storeFile = new StoreFile(session.store.path);
    this.#metrics = new Metrics(
      {
        ...{ version, stateDir, resyncMs, nowMs: wallClock, monotonicMs: () => performance.now() },
        // A node that leaves is ready once it has left.
        findPathProblem: () => (options.leaving === undefined ? this.#pass.findPathProblem() : undefined),
        findStoreProblem: () => this.#storeFile.findProblem(),
        portGaps: () => this.#pass.portGaps,
        collect: () => collectFacts(session, this.#pass.state, this.#pass.kubernetes, wallClock()),
      },
      log,
    );
    const serving = { pages: agentPages(this.#metrics), log, retryMs: listenRetryMs };
    this.#http = new HttpServer(serving);
    this.#socket = new HttpServer(serving);
    const requestReconcile = (trigger: Trigger) => this.#requestReconcile(trigger);
    const setDeadline: SetDeadline = (name, inMs) =>
      this.#setDeadline(name, inMs, () => requestReconcile("records"));
    this.#pass = new ReconcilePass(session, {
      ...{ log, wallClock, requestReconcile, setDeadline, version },
      ...(node === undefined ? {} : { node }),
      ...{ metrics: this.#metrics, underlay: this.#underlay },
    });
  }

  /** Runs one pass, then one after every change. */
  start(): void {
    const onEvent = (event: KernelEvent) => this.#handleEvent(event);
    const onLoss = (reason: string) => this.#handleLoss(reason);
    this.#watchers.push(watchKernel(routeEvents, onEvent, onLoss));
    if (this.session.kernel.firewall !== undefined)
      this.#watchers.push(watchKernel(firewallEvents, onEvent, onLoss));
    else this.options.log.warn(withoutNftables);
    this.#watchers.push(watchStore(this.options.stateDir, () => this.#storeChanged()));
    this.#resyncLater();
    this.#socket.listen(agentSocket(this.options.stateDir));
    this.#triggers.add("start");
    this.#reconcileNow();
  }

  /** True while passes keep running; the service manager's watchdog is fed with this. */
  get isAlive(): boolean {
    return this.#metrics.liveness().ok;
  }

  /** True if the Kubernetes API has this node's current record, or if records are not kept there. */
  get isPublished(): boolean {
    return this.#pass.kubernetes?.published ?? true;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const part of [this.#http, this.#socket, this.#metrics, this.#pass, ...this.#watchers])
      part[Symbol.dispose]();
  }

  #handleEvent(event: KernelEvent): void {
    // Before the first sync there is nothing of ours that an event could be about.
    const { settings, node: { podCIDRs } = { podCIDRs: [] } } = this.#pass.state ?? {};
    const { deviceIndexes } = this.#pass;
    // Also if it is this agent's own: a pass that read the pods before an ADD may have deleted the route of that.
    if (settings !== undefined && this.#podRoutes.note(event, settings)) this.#judgePodRoutes();
    else if (this.#isOwn(event)) return;
    else if (this.#underlay.affects(event)) this.#requestReconcile("underlay");
    else if (settings !== undefined && affectsMesh(event, settings, { podCIDRs, deviceIndexes }))
      this.#requestReconcile(event.about);
    else if (settings !== undefined && affectsPods(event, settings, this.#pass.podLinks)) this.#requestPods();
  }

  /**
   * True if this agent itself made the change. A route or set that it wrote is correct, so another pass
   * over thousands of peers would find nothing. Changes to links and addresses have further effects
   * that must be read.
   */
  #isOwn({ about, port }: KernelEvent): boolean {
    const { host, firewall } = this.session.kernel;
    return (about === "route" && port === host.port) || (about === "firewall" && port === firewall?.port);
  }

  #handleLoss(reason: string): void {
    this.#metrics.eventsLost();
    this.#requestReconcile("events lost");
    if (this.#lossLines.take(performance.now()) > 0) return;
    this.options.log.warn("kernel events came faster than they were read; everything is reconciled again", {
      reason,
    });
  }

  /** The event of a write may come before its commit can be read, so the store is read a second time. */
  #storeChanged(): void {
    this.#readStore();
    const onDue = () => this.#readStore();
    if (this.#deadlines.bringForward("store", performance.now() + settleMs, onDue)) this.#armTimer();
  }

  /** Every pod changes the attachments, which mostly need no pass; settings, identity and peers have a generation. */
  #readStore(): void {
    const isNew = () => this.session.store.generation !== this.#pass.generation;
    if (attempt(StoreError, isNew, isUnreadable)) this.#requestReconcile("store");
    if (attempt(StoreError, () => this.#pass.arePodsNew, isUnreadable)) this.#requestPods();
  }

  #judgePodRoutes(): void {
    const judge = () => {
      if (attempt(StoreError, () => this.#pass.arePodRoutesWrong(this.#podRoutes), isUnreadable))
        this.#requestReconcile("route");
    };
    if (this.#deadlines.bringForward("pod routes", performance.now() + podRoutesMs, judge)) this.#armTimer();
  }

  #requestPods(): void {
    this.#requestReconcile("pods", Math.max(performance.now() + podSettleMs, this.#podPace.nextMs));
  }

  #requestReconcile(
    trigger: Trigger,
    dueMs = Math.max(performance.now() + settleOf(trigger), this.#pace.nextMs),
  ): void {
    this.#triggers.add(trigger);
    if (this.#deadlines.bringForward("request", dueMs, () => this.#reconcileNow())) this.#armTimer();
  }

  #setDeadline(name: string, inMs: number | undefined, onDue: () => void): void {
    this.#deadlines.set(name, inMs === undefined ? undefined : performance.now() + inMs, onDue);
    this.#armTimer();
  }

  #armTimer(): void {
    clearTimeout(this.#timer);
    const { nextMs } = this.#deadlines;
    if (nextMs === undefined) return;
    const run = () => {
      this.#deadlines.runDue(performance.now());
      this.#armTimer();
    };
    this.#timer = setTimeout(run, Math.max(0, nextMs - performance.now()));
  }

  #resyncLater(): void {
    this.#setDeadline("resync", resyncMs, () => {
      this.#resyncLater();
      this.#requestReconcile("resync");
    });
  }

  #reconcileNow(): void {
    this.#deadlines.delete("request");
    const triggers = new Set(this.#triggers);
    this.#triggers.clear();
    // The pass tries again what failed before.
    if (this.#problem !== undefined) triggers.add("retry");
    const spent = process.cpuUsage();
    const startMs = performance.now();
    const wakeInMs = this.#run(triggers);
    this.#metrics.passEnded(this.#problem);
    this.options.onReconciled(this.#problem);
    // Only work counts, not the wait for a lock: the next pass should come soon after its release.
    const { user, system } = process.cpuUsage(spent);
    const costMs = (user + system) / 1000;
    this.#pace.spend(startMs, costMs);
    // The trigger does not matter: each set of new pods leads to a write to the API.
    if (triggers.has("pods") || this.#pass.hasNewPods) this.#podPace.spend(startMs, costMs);
    // A request from within the pass knew nothing of its cost.
    if (this.#triggers.size > 0)
      this.#deadlines.set("request", this.#pace.nextMs, () => this.#reconcileNow());
    const restMs = Math.min(costMs / maxLoad, pollMs);
    this.#setDeadline("poll", Math.max(wakeInMs, restMs), () => {
      this.#triggers.add("poll");
      this.#reconcileNow();
    });
  }

  #run(triggers: Triggers): number {
    try {
      this.#http.listen(readSettings(this.session.store).metricsAddress);
      const { problem = this.#storeFile.findProblem(), wakeInMs } = this.#pass.run(triggers);
      this.#report(problem ?? this.options.leaving?.(), problem === undefined);
      return wakeInMs;
    } catch (error) {
      const isExpected = error instanceof NotUpError;
      if (isExpected && this.options.leaving !== undefined) this.#report(this.options.leaving(), true);
      else this.#report(messageOf(error), isExpected);
      return retryMs;
    }
  }

  #report(message: string | undefined, isExpected: boolean): void {
    this.#problem = message;
    const level = isExpected ? "info" : "error";
    this.#problems.reportOnChange("pass", message === undefined ? undefined : { message, level });
  }
}

function settleOf(trigger: Trigger): number {
  return trigger === "records" || trigger === "store" ? recordSettleMs : settleMs;
}

/** A pass is due then, which reports what cannot be read. */
const isUnreadable = () => true;

const withoutNftables =
  "the kernel has no nftables: outgoing plaintext is still encrypted or refused, but not counted, and incoming plaintext is not dropped, not even in strict mode. Load the module (modprobe nf_tables) and restart the agent.";
