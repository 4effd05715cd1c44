// One look of the agent: its parts, in the order in which one builds on another.
//
//   abandoned pods       what nobody ends is no pod any more
//   API, records, pods   what came from outside is in the store, and where this
//   transport            node is reached
//   gate, rotation       what is decided is in the store
//   sync, pods           the kernel follows
//   dead-man switch      what could cut the node off is on trial
//   publish              the others can read what has changed
//
// Whatever breaks off a look, the next one begins anew from store and kernel. A
// store that takes nothing (locked, disk full) breaks off only the part that
// wanted to write: the kernel is kept to what was committed before.
import { disk } from "../install/disk.ts";
import { findTarget } from "../install/target.ts";
import { ownSlots } from "../plan/peers/path.ts";
import { renderStep } from "../plan/step.ts";
import { followTransport } from "../reconcile/endpoints.ts";
import type { MeshState, SyncReport } from "../reconcile/mesh-plan.ts";
import { readSettings } from "../reconcile/node.ts";
import { findObstacle } from "../reconcile/outcome.ts";
import type { Session } from "../reconcile/session.ts";
import { mayReturn } from "../reconcile/slots.ts";
import { NotUpError } from "../reconcile/sync.ts";
import { readView, type View } from "../sources/node-view.ts";
import { StoreError } from "../state/error.ts";
import type { Attachment } from "../state/model.ts";
import { describeSync, type KubernetesFacts } from "../telemetry/facts.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { RefusalLog } from "./claim-log.ts";
import { AgentClock } from "./clock.ts";
import { DeadMan } from "./dead-man.ts";
import { Drift } from "./drift.ts";
import { EndpointWrites } from "./endpoint-writes.ts";
import { Gate, type IsGiven } from "./gate.ts";
import { firstCommand, isAboutPods, logLapses, logNews } from "./gate-log.ts";
import { Garbage } from "./heap-trimmer.ts";
import { Installation } from "./installation.ts";
import { AbandonedPods } from "./orphaned-pods.ts";
import { Exchange, type Sighting } from "./record-sync.ts";
import { KeyRotation } from "./rotation.ts";
import { SlotLog } from "./slot-log.ts";
import type { Underlay } from "./underlay-filter.ts";

/** Handshakes make no event: while one is waited for, the devices are read this often, */
const hurryMs = 1000;
/** and else this often. */
const pollMs = 5000;
/** What the pods of a node may take of one look; an ordinary one takes less than a millisecond. */
const podsBudgetMs = 100;

export interface LookOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly underlay: Underlay;
  readonly version: string;
  /** Name of the Kubernetes Node that this node's identity comes from; absent where `up` has given it one. */
  readonly node?: string;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** Something that is watched beside kernel and store has changed. */
  readonly lookSoon: (reason: string) => void;
}

export interface Looked {
  /** What could not be programmed. */
  readonly problem?: string;
  /** When to look again at the latest. */
  readonly wakeInMs: number;
}

interface Decided {
  readonly changed: boolean;
  readonly drifted: boolean;
  readonly hurry: boolean;
  readonly wakeInMs?: number;
}

const undecided: Decided = { changed: false, drifted: false, hurry: false };

/** Why there is a look. A "poll" only reads the devices, and goes on where that shows something. */
export type Reasons = ReadonlySet<string>;

/** These say nothing of what lies between the nodes: the ways to the peers are as they were when last asked for. */
const inward: Reasons = new Set([
  ...["poll", "store", "records", "link", "route", "firewall", "control plane", "dead-man switch"],
]);

export class Look implements Disposable {
  readonly #gate: Gate;
  readonly #writes: EndpointWrites;
  readonly #deadMan: DeadMan;
  readonly #rotation: KeyRotation;
  readonly #exchange: Exchange;
  readonly #installation: Installation;
  readonly #abandoned: AbandonedPods;
  readonly #clock: AgentClock;
  readonly #slots: SlotLog;
  readonly #garbage = new Garbage();
  readonly #refusals: RefusalLog;
  #view: View | undefined;
  #state: MeshState | undefined;
  #transportProblem: string | undefined;
  readonly #drift = new Drift();
  #lacks = "";
  #peerProblem: string | undefined;
  #refusedCIDRs = "";
  #tookPods = false;
  #asks: readonly string[] = [];
  /** Pods that are still to be given the tunnel's MTU. */
  #waitingPods: readonly Attachment[] = [];

  constructor(
    private readonly session: Session,
    private readonly options: LookOptions,
  ) {
    const { log, lookSoon, wallClock, version, node, metrics } = options;
    const { store } = session;
    this.#writes = new EndpointWrites(wallClock);
    this.#gate = new Gate(session, this.#writes);
    this.#refusals = new RefusalLog(log);
    this.#slots = new SlotLog(log);
    this.#deadMan = new DeadMan(session.store, log, () => lookSoon("control plane"));
    this.#rotation = new KeyRotation(session.store, log);
    this.#clock = new AgentClock(log, wallClock);
    this.#exchange = new Exchange(session, {
      ...{ log, version, wallClock, onChange: () => lookSoon("records") },
      ...(node === undefined ? {} : { node }),
    });
    const now = () => performance.now();
    this.#installation = new Installation(() => findTarget(readSettings(store)), {
      ...{ log, disk, now, source: "/proc/self/exe" },
      onChange: () => lookSoon("network configuration"),
    });
    this.#abandoned = new AbandonedPods({ log, now, onRelease: (pods) => metrics.podsReleased(pods) });
  }

  /** What the last sync has made of the mesh. */
  get state(): MeshState | undefined {
    return this.#state;
  }

  /** Undefined where records are not kept in the Kubernetes API. */
  get kubernetes(): KubernetesFacts | undefined {
    return this.#exchange.kubernetes;
  }

  /** Generation of the store that was looked at last. */
  get generation(): number {
    return this.#view?.generation ?? -1;
  }

  /** True where pods have come or gone that others must hear of. Throws StoreError. */
  get arePodsNew(): boolean {
    return this.#view?.settings.podAddresses === "pods" && this.#exchange.pods.areNew;
  }

  /** Names of the links that lead to pods which this node announces one by one. */
  get podLinks(): ReadonlySet<string> {
    return this.#exchange.pods.links;
  }

  /** True where the last look announces other pods than the one before. */
  get tookPods(): boolean {
    return this.#tookPods;
  }

  [Symbol.dispose](): void {
    this.#deadMan[Symbol.dispose]();
    this.#exchange[Symbol.dispose]();
    this.#installation[Symbol.dispose]();
  }

  /** Throws what reading the kernel or the store throws, NotUpError where the node is not up. */
  run(reasons: Reasons): Looked {
    const isPoll = reasons.size === 1 && reasons.has("poll");
    const refusals: string[] = [];
    this.#tookPods = false;
    // What a list of thousands has left.
    this.#garbage.collect();
    // At polls too, since one may be what it waits for.
    const installed = attempt(() => this.#installation.look(), refusals);
    attempt(() => this.#abandoned.look(this.session), refusals);
    if (!isPoll) attempt(() => this.#takeIn(), refusals);
    const decided = attempt(() => this.#decide(), refusals) ?? undecided;
    this.#garbage.collect();
    const isIdle = isPoll && !decided.changed && !decided.drifted && !mayReturn(this.session);
    const synced = isIdle ? {} : this.#sync(reasons, decided.changed);
    attempt(() => this.#syncPods(), refusals);
    this.#garbage.collect();
    if (!isIdle) attempt(() => this.#keepPodLinks(reasons), refusals);
    const trialMs = attempt(() => this.#tryHosts(reasons), refusals);
    attempt(() => this.#exchange.publish(isIdle, this.#asks, () => this.#sighting()), refusals);
    const problem = refusals[0] ?? synced.problem ?? installed?.problem;
    if (problem === undefined && this.#state?.up === true) this.#exchange.welcomePods();
    const isHurry = decided.hurry || this.#waitingPods.length > 0;
    const waits = [isHurry ? hurryMs : pollMs, decided.wakeInMs, trialMs, installed?.wakeInMs];
    return {
      ...(problem === undefined ? {} : { problem }),
      wakeInMs: Math.min(...waits.filter((wait) => wait !== undefined)),
    };
  }

  /** What others have written, and where this node is reached, comes into the store. */
  #takeIn(): void {
    this.#tookPods = this.#exchange.takeIn();
    let problem: string | undefined;
    followTransport(this.session, (sentence) => {
      problem = sentence;
    });
    if (problem !== undefined && problem !== this.#transportProblem) this.options.log.warn(problem);
    this.#transportProblem = problem;
  }

  /** Who is reached how, and what becomes of our keys. */
  #decide(): Decided {
    const before = this.#readView();
    // With the first decision of an agent, records are no longer the operator's word.
    const view = before !== undefined && this.#gate.adopt(before) ? this.#readView() : before;
    if (view === undefined) return undecided;
    const clocks = this.#clock.read();
    const isGiven: IsGiven = (peer, claim, kind) => this.#exchange.isGiven(peer, claim, kind);
    const gate = this.#gate.step(view, isGiven, clocks);
    logLapses(this.options.log, gate.lapsed);
    const news = gate.news.map((one) => one.news);
    this.#noteAsks(gate.asks);
    // A node without a slot of its own reaches nobody: that is said once, and is no peer's doing.
    const isOwnLoss = ownSlots(view.node).length === 0;
    if (!isOwnLoss) logNews(this.options.log, gate.news);
    this.options.metrics.gateChanged(news);
    for (const { error } of gate.failures) this.options.log.error(error.message);
    const { ownership, node } = view;
    const rotation = this.#rotation.look(
      {
        ...{ peers: ownership.peers, paths: this.#gate.paths, observations: this.#gate.observations },
        isPublished: this.#exchange.published === JSON.stringify(node),
      },
      clocks,
    );
    return {
      changed: gate.changed || news.length > 0 || rotation.changed,
      ...{ drifted: gate.drifted || this.#drift.isSeen(gate.polled), hurry: gate.hurry },
      ...(rotation.wakeInMs === undefined ? {} : { wakeInMs: rotation.wakeInMs }),
    };
  }

  #noteAsks(asks: readonly string[]): void {
    const begun = asks.filter((peer) => !this.#asks.includes(peer));
    this.#asks = asks;
    for (const peer of begun)
      this.options.log.warn(
        "no handshake of this node is answered: its record asks the peer to begin one from now on",
        { peer },
      );
  }

  /** Resolved once for a generation of the store, and for the landmarks around this node. */
  #readView(): View | undefined {
    const { nodes } = this.session;
    const { generation, ownership } = nodes.intent();
    if (this.#view?.generation !== generation || this.#view.ownership !== ownership) {
      this.#view = readView(nodes);
      this.#garbage.collect();
      this.#gate.forgetPaths();
    }
    return this.#view;
  }

  #sync(reasons: Reasons, decided: boolean): { problem?: string } {
    const { log, metrics, underlay } = this.options;
    const reason = [...reasons].join(", ");
    const startMs = performance.now();
    const before = this.#state;
    const isOutward = ![...reasons].every((reason) => inward.has(reason));
    if (isOutward) {
      this.session.peerRoutes.forget();
      this.session.arrivalRoutes.forget();
    }
    const report = this.#syncMesh(startMs, isOutward);
    for (const part of [this.#slots, this.#writes]) part.note(report);
    this.#state = stateOf(report);
    underlay.learn(report);
    this.#drift.learn(report);
    this.#sayRefusedCIDRs(report);
    if (report.up) this.#refusals.note(report.ownership.refusals);
    const isPods = isAboutPods(report);
    const wasDecided = decided || isPods || before?.generation !== report.generation;
    const ms = performance.now() - startMs;
    metrics.synced(describeSync(report, ms, wasDecided));
    log.debug("looked", { reason, writes: report.writes, ms: Math.round(ms) });
    if (report.writes > 0)
      log[isPods ? "debug" : "info"]("the mesh was changed", {
        ...{ reason, writes: report.writes, first: firstCommand(report) },
      });
    // At a resync too: an ADD may have read the MTU just before the devices changed.
    const isLater = before?.mtu.bytes === report.mtu.bytes && !reasons.has("resync");
    if (!report.up) this.#waitingPods = [];
    else if (!isLater) this.#waitingPods = this.session.store.attachments();
    this.#sayLimits(report);
    const problem = findObstacle(report);
    return problem === undefined ? {} : { problem };
  }

  /** Says once what this host cannot have, and what keeps single peers from being reached. */
  #sayLimits({ lacks, failures, blocking }: SyncReport): void {
    const { log } = this.options;
    const said = lacks.join("; ");
    if (said !== this.#lacks) {
      for (const why of lacks) log.warn("this host cannot have all of the mesh", { why });
      if (lacks.length === 0) log.info("this host can have all of the mesh now");
    }
    this.#lacks = said;
    // Where something else blocks, routes fail because of it.
    const problem = blocking.length > 0 ? undefined : failures[0]?.error.message;
    if (problem !== undefined && problem !== this.#peerProblem)
      log.warn("a peer's object cannot be programmed, the others work", { why: problem });
    this.#peerProblem = problem;
  }

  #sayRefusedCIDRs({ refusedCIDRs }: SyncReport): void {
    const said = refusedCIDRs.map(({ reason }) => reason).join(", ");
    if (said === this.#refusedCIDRs) return;
    this.#refusedCIDRs = said;
    const { log } = this.options;
    if (said === "") log.info("resolved: all cluster CIDRs are obeyed");
    else log.warn("a cluster CIDR is left out", { why: said });
  }

  #syncMesh(startMs: number, reexamine: boolean): SyncReport {
    try {
      return this.session.sync({
        relieve: () => this.#garbage.collect(),
        reexamine,
        retriesSlots: this.#slots.takeTurn(startMs),
        mayReplaceKeys: true,
      });
    } catch (error) {
      if (!(error instanceof NotUpError)) this.options.metrics.syncBroke(performance.now() - startMs);
      throw error;
    }
  }

  /** Pods that are there follow the tunnel's MTU. What is read of them is their own processes' to choose. */
  #syncPods(): void {
    const bytes = this.#state?.mtu.bytes;
    if (bytes === undefined || this.#waitingPods.length === 0) return;
    const { log } = this.options;
    const { store } = this.session;
    // Since they were listed, some may have ended or been added anew.
    const attachments = this.#waitingPods.flatMap((one) => store.findAttachment(one) ?? []);
    const { pods, writes, failures, rest } = this.session.syncPods(bytes, {
      ...{ attachments, budgetMs: podsBudgetMs },
    });
    this.#waitingPods = rest;
    if (writes > 0) log.info("pods follow the tunnel's MTU", { mtu: bytes, pods, writes });
    for (const failure of failures) log.warn(failure);
  }

  /** At a resync, and when somebody has changed nftables. */
  #keepPodLinks(reasons: Reasons): void {
    if (!["start", "resync", "firewall"].some((reason) => reasons.has(reason))) return;
    const { log } = this.options;
    const { steps, writes, failures } = this.session.syncPodLinks();
    const [first] = steps.flatMap(renderStep);
    if (writes > 0) log.warn("the links of pods were changed back", { writes, first });
    for (const failure of failures) log.warn(failure);
  }

  /** What host encryption has put into the tunnel stays there only if the control plane answers. */
  #tryHosts(reasons: Reasons): number | undefined {
    if (this.#state === undefined) return undefined;
    const look = this.#deadMan.look(this.#state, this.#clock.read());
    if (!look.changed) return look.wakeInMs;
    this.#sync(new Set([...reasons, "dead-man switch"]), true);
    return this.#deadMan.look(this.#state, this.#clock.read()).wakeInMs;
  }

  #sighting(): Sighting {
    const { paths, observations } = this.#gate;
    const refusedCIDRs = this.#state?.refusedCIDRs ?? [];
    return { view: this.#view, paths, observations, refusedCIDRs, nowMs: this.#clock.read().nowMs };
  }
}

/** Thousands of peers and routes, as they should be and as they were, are not kept until the next look. */
function stateOf({ desired: _d, observed: _o, steps: _s, ...state }: SyncReport): MeshState {
  return state;
}

/** Undefined where the store refused, which is put with the other refusals. */
function attempt<T>(part: () => T, refusals: string[]): T | undefined {
  try {
    return part();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    refusals.push(error.message);
    return undefined;
  }
}
