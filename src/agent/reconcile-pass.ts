// One reconcile pass of the agent: its stages, in the order in which one builds on another.
//
//   orphaned pods        pods whose network namespace is gone are released
//   API, records, pods   what came from outside goes into the store, and so do the
//   transport            addresses at which peers reach this node
//   gate, rotation       decisions go into the store
//   sync, pods           the kernel is brought to what the store says
//   dead-man switch      what could cut the node off is on trial
//   publish              peers can read what has changed
//
// If a pass fails, the next one begins anew from store and kernel. A store that accepts
// no write (locked, disk full) fails only the stage that wanted to write: the kernel is
// still brought to what was committed before.
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
import { DriftDetector } from "./drift.ts";
import { EndpointWrites } from "./endpoint-writes.ts";
import { Gate, type IsGiven } from "./gate.ts";
import { firstCommand, isAboutPods, logGateEvents, logLapses } from "./gate-log.ts";
import { HeapTrimmer } from "./heap-trimmer.ts";
import { Installation } from "./installation.ts";
import { OrphanedPods } from "./orphaned-pods.ts";
import { type MeshObservation, RecordSync } from "./record-sync.ts";
import { KeyRotation } from "./rotation.ts";
import { SlotLog } from "./slot-log.ts";
import { isPollOnly, mayAffectUnderlay, type Trigger, type Triggers } from "./triggers.ts";
import type { UnderlayFilter } from "./underlay-filter.ts";

/** Handshakes cause no event: while a peer waits for one, the devices are read this often, */
const hurryMs = 1000;
/** and otherwise this often. */
const pollMs = 5000;
/** The time that the pods of a node may take in one pass; one pod normally takes less than a millisecond. */
const podsBudgetMs = 100;

export interface PassOptions {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly underlay: UnderlayFilter;
  readonly version: string;
  /** The name of the Kubernetes Node that this node's identity comes from; absent if `up` has set the identity. */
  readonly node?: string;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  /** Something that is watched, other than kernel and store, has changed. */
  readonly requestReconcile: (trigger: Trigger) => void;
}

export interface PassResult {
  /** Why the mesh is not as the store says. */
  readonly problem?: string;
  /** When the next pass must run at the latest. */
  readonly wakeInMs: number;
}

interface Decision {
  readonly changed: boolean;
  readonly drifted: boolean;
  readonly hurry: boolean;
  readonly wakeInMs?: number;
}

const undecided: Decision = { changed: false, drifted: false, hurry: false };

export class ReconcilePass implements Disposable {
  readonly #gate: Gate;
  readonly #writes: EndpointWrites;
  readonly #deadMan: DeadMan;
  readonly #rotation: KeyRotation;
  readonly #records: RecordSync;
  readonly #installation: Installation;
  readonly #orphans: OrphanedPods;
  readonly #clock: AgentClock;
  readonly #slots: SlotLog;
  readonly #heap = new HeapTrimmer();
  readonly #refusals: RefusalLog;
  #view: View | undefined;
  #state: MeshState | undefined;
  #transportProblem: string | undefined;
  readonly #drift = new DriftDetector();
  #lacks = "";
  #peerProblem: string | undefined;
  #refusedCIDRs = "";
  #hasNewPods = false;
  #asks: readonly string[] = [];
  /** Pods that have not yet received the tunnel's MTU. */
  #waitingPods: readonly Attachment[] = [];

  constructor(
    private readonly session: Session,
    private readonly options: PassOptions,
  ) {
    const { log, requestReconcile, wallClock, version, node, metrics } = options;
    const { store } = session;
    this.#writes = new EndpointWrites(wallClock);
    this.#gate = new Gate(session, this.#writes);
    this.#refusals = new RefusalLog(log);
    this.#slots = new SlotLog(log);
    this.#deadMan = new DeadMan(session.store, log, () => requestReconcile("control plane"));
    this.#rotation = new KeyRotation(session.store, log);
    this.#clock = new AgentClock(log, wallClock);
    this.#records = new RecordSync(session, {
      ...{ log, version, wallClock, onChange: () => requestReconcile("records") },
      ...(node === undefined ? {} : { node }),
    });
    const now = () => performance.now();
    this.#installation = new Installation(() => findTarget(readSettings(store)), {
      ...{ log, disk, now, source: "/proc/self/exe" },
      onChange: () => requestReconcile("network configuration"),
    });
    this.#orphans = new OrphanedPods({ log, now, onRelease: (pods) => metrics.podsReleased(pods) });
  }

  /** The state of the mesh after the last sync. */
  get state(): MeshState | undefined {
    return this.#state;
  }

  /** Undefined if records are not kept in the Kubernetes API. */
  get kubernetes(): KubernetesFacts | undefined {
    return this.#records.kubernetes;
  }

  /** The generation of the store in the last pass. */
  get generation(): number {
    return this.#view?.generation ?? -1;
  }

  /** True if pods have come or gone that peers must learn of. Throws StoreError. */
  get arePodsNew(): boolean {
    return this.#view?.settings.podAddresses === "pods" && this.#records.pods.haveChanged;
  }

  /** The names of the links to pods which this node announces one by one. */
  get podLinks(): ReadonlySet<string> {
    return this.#records.pods.links;
  }

  /** True if the last pass announced other pods than the one before. */
  get hasNewPods(): boolean {
    return this.#hasNewPods;
  }

  [Symbol.dispose](): void {
    this.#deadMan[Symbol.dispose]();
    this.#records[Symbol.dispose]();
    this.#installation[Symbol.dispose]();
  }

  /** Throws what reading the kernel or the store throws, and NotUpError if the node is not up. */
  run(triggers: Triggers): PassResult {
    const isPoll = isPollOnly(triggers);
    const refusals: string[] = [];
    this.#hasNewPods = false;
    // Frees what a list of thousands of objects has left.
    this.#heap.trim();
    // This runs at polls too: a repair may be waiting for its time.
    const installed = attempt(() => this.#installation.reconcile(), refusals);
    attempt(() => this.#orphans.reconcile(this.session), refusals);
    if (!isPoll) attempt(() => this.#ingest(), refusals);
    const decided = attempt(() => this.#decide(), refusals) ?? undecided;
    this.#heap.trim();
    const isIdle = isPoll && !decided.changed && !decided.drifted && !mayReturn(this.session);
    const synced = isIdle ? {} : this.#sync(triggers, decided.changed);
    attempt(() => this.#syncPods(), refusals);
    this.#heap.trim();
    if (!isIdle) attempt(() => this.#restorePodLinks(triggers), refusals);
    const trialMs = attempt(() => this.#runDeadMan(triggers), refusals);
    attempt(() => this.#records.publish(isIdle, this.#asks, () => this.#observation()), refusals);
    const problem = refusals[0] ?? synced.problem ?? installed?.problem;
    if (problem === undefined && this.#state?.up === true) this.#records.removeStartupTaint();
    const isHurry = decided.hurry || this.#waitingPods.length > 0;
    const waits = [isHurry ? hurryMs : pollMs, decided.wakeInMs, trialMs, installed?.wakeInMs];
    return {
      ...(problem === undefined ? {} : { problem }),
      wakeInMs: Math.min(...waits.filter((wait) => wait !== undefined)),
    };
  }

  /** Writes what peers have published, and the addresses of this node, into the store. */
  #ingest(): void {
    this.#hasNewPods = this.#records.ingest();
    let problem: string | undefined;
    followTransport(this.session, (sentence) => {
      problem = sentence;
    });
    if (problem !== undefined && problem !== this.#transportProblem) this.options.log.warn(problem);
    this.#transportProblem = problem;
  }

  /** Decides the path to every peer, and the rotation of this node's keys. */
  #decide(): Decision {
    const before = this.#readView();
    // Before an agent's first decision, the operator's records alone put peers into the tunnel.
    const view = before !== undefined && this.#gate.adopt(before) ? this.#readView() : before;
    if (view === undefined) return undecided;
    const clocks = this.#clock.read();
    const isGiven: IsGiven = (peer, claim, kind) => this.#records.isGiven(peer, claim, kind);
    const gate = this.#gate.step(view, isGiven, clocks);
    logLapses(this.options.log, gate.lapsed);
    const events = gate.events.map(({ event }) => event);
    this.#reportAsks(gate.asks);
    // A node without a usable slot reaches no peer. That is logged once elsewhere, and no peer is the cause.
    const isOwnLoss = ownSlots(view.node).length === 0;
    if (!isOwnLoss) logGateEvents(this.options.log, gate.events);
    this.options.metrics.gateChanged(events);
    for (const { error } of gate.failures) this.options.log.error(error.message);
    const { ownership, node } = view;
    const rotation = this.#rotation.reconcile(
      {
        ...{ peers: ownership.peers, paths: this.#gate.paths, observations: this.#gate.observations },
        isPublished: this.#records.published === JSON.stringify(node),
      },
      clocks,
    );
    this.options.metrics.rotationWaits(rotation.view.waitingFor.length);
    return {
      changed: gate.changed || events.length > 0 || rotation.changed,
      ...{ drifted: gate.drifted || this.#drift.detects(gate.polled), hurry: gate.hurry },
      ...(rotation.wakeInMs === undefined ? {} : { wakeInMs: rotation.wakeInMs }),
    };
  }

  #reportAsks(asks: readonly string[]): void {
    const begun = asks.filter((peer) => !this.#asks.includes(peer));
    this.#asks = asks;
    for (const peer of begun)
      this.options.log.warn(
        "peer answers no handshake of this node; the record of this node asks the peer to initiate one",
        { peer },
      );
  }

  /** Resolves the view once for a generation of the store and for the ownership of addresses around this node. */
  #readView(): View | undefined {
    const { nodes } = this.session;
    const { generation, ownership } = nodes.intent();
    if (this.#view?.generation !== generation || this.#view.ownership !== ownership) {
      this.#view = readView(nodes);
      this.#heap.trim();
      this.#gate.forgetPaths();
    }
    return this.#view;
  }

  #sync(triggers: Triggers, decided: boolean): { problem?: string } {
    const { log, metrics, underlay } = this.options;
    const reason = [...triggers].join(", ");
    const startMs = performance.now();
    const before = this.#state;
    const isOutward = mayAffectUnderlay(triggers);
    if (isOutward) {
      this.session.peerRoutes.forget();
      this.session.arrivalRoutes.forget();
    }
    const report = this.#syncMesh(startMs, isOutward);
    this.#slots.report(report);
    this.#writes.observe(report);
    this.#state = stateOf(report);
    underlay.learn(report);
    this.#drift.learn(report);
    this.#reportRefusedCIDRs(report);
    if (report.up) this.#refusals.report(report.ownership.refusals);
    const isPods = isAboutPods(report);
    const wasDecided = decided || isPods || before?.generation !== report.generation;
    const ms = performance.now() - startMs;
    metrics.synced(describeSync(report, ms, wasDecided));
    log.debug("reconciled", { reason, writes: report.writes, ms: Math.round(ms) });
    if (report.writes > 0)
      log[isPods ? "debug" : "info"]("mesh changed", {
        ...{ reason, writes: report.writes, first: firstCommand(report) },
      });
    // A resync lists all pods too: an ADD may have read the MTU just before the devices changed.
    const isLater = before?.mtu.bytes === report.mtu.bytes && !triggers.has("resync");
    if (!report.up) this.#waitingPods = [];
    else if (!isLater) this.#waitingPods = this.session.store.attachments();
    this.#reportLimits(report);
    const problem = findObstacle(report);
    return problem === undefined ? {} : { problem };
  }

  /** Logs once what this host lacks, and what keeps single peers from being reached. */
  #reportLimits({ lacks, failures, blocking }: SyncReport): void {
    const { log } = this.options;
    const said = lacks.join("; ");
    if (said !== this.#lacks) {
      for (const why of lacks) log.warn("host lacks a capability, part of the mesh is missing", { why });
      if (lacks.length === 0) log.info("resolved: the host lacked a capability");
    }
    this.#lacks = said;
    // If something else blocks, it is the reason why routes fail.
    const problem = blocking.length > 0 ? undefined : failures[0]?.error.message;
    if (problem !== undefined && problem !== this.#peerProblem)
      log.warn("cannot program an object of a peer, the other peers work", { why: problem });
    this.#peerProblem = problem;
  }

  #reportRefusedCIDRs({ refusedCIDRs }: SyncReport): void {
    const said = refusedCIDRs.map(({ reason }) => reason).join(", ");
    if (said === this.#refusedCIDRs) return;
    this.#refusedCIDRs = said;
    const { log } = this.options;
    if (said === "") log.info("resolved: a cluster CIDR was ignored");
    else log.warn("cluster CIDR ignored", { why: said });
  }

  #syncMesh(startMs: number, reexamine: boolean): SyncReport {
    try {
      return this.session.sync({
        relieve: () => this.#heap.trim(),
        reexamine,
        retriesSlots: this.#slots.mayRetry(startMs),
        mayReplaceKeys: true,
      });
    } catch (error) {
      if (!(error instanceof NotUpError)) this.options.metrics.syncBroke(performance.now() - startMs);
      throw error;
    }
  }

  /** Gives existing pods the tunnel's MTU. Processes in a pod can choose what is read there, so it is not trusted. */
  #syncPods(): void {
    const bytes = this.#state?.mtu.bytes;
    if (bytes === undefined || this.#waitingPods.length === 0) return;
    const { log } = this.options;
    const { store } = this.session;
    // Since they were listed, pods may have been removed or added anew.
    const attachments = this.#waitingPods.flatMap((one) => store.findAttachment(one) ?? []);
    const { pods, writes, failures, rest } = this.session.syncPods(bytes, {
      ...{ attachments, budgetMs: podsBudgetMs },
    });
    this.#waitingPods = rest;
    if (writes > 0) log.info("pods updated to the MTU of the tunnel", { mtu: bytes, pods, writes });
    for (const failure of failures) log.warn(failure);
  }

  /** Repairs the links of pods at a resync and when another process has changed nftables. */
  #restorePodLinks(triggers: Triggers): void {
    if (!(["start", "resync", "firewall"] as const).some((trigger) => triggers.has(trigger))) return;
    const { log } = this.options;
    const { steps, writes, failures } = this.session.syncPodLinks();
    const [first] = steps.flatMap(renderStep);
    if (writes > 0) log.warn("links of pods changed by another process, restored", { writes, first });
    for (const failure of failures) log.warn(failure);
  }

  /** Runs the dead-man switch: host encryption stays on only if the control plane answers. */
  #runDeadMan(triggers: Triggers): number | undefined {
    if (this.#state === undefined) return undefined;
    const result = this.#deadMan.reconcile(this.#state, this.#clock.read());
    if (!result.changed) return result.wakeInMs;
    this.#sync(new Set<Trigger>([...triggers, "dead-man switch"]), true);
    return this.#deadMan.reconcile(this.#state, this.#clock.read()).wakeInMs;
  }

  #observation(): MeshObservation {
    const { paths, observations } = this.#gate;
    const refusedCIDRs = this.#state?.refusedCIDRs ?? [];
    return { view: this.#view, paths, observations, refusedCIDRs, nowMs: this.#clock.read().nowMs };
  }
}

/** Drops thousands of desired and observed peers and routes, which the next pass does not need. */
function stateOf({ desired: _d, observed: _o, steps: _s, ...state }: SyncReport): MeshState {
  return state;
}

/** Runs a stage; undefined if the store refused it, whose message is added to `refusals`. */
function attempt<T>(part: () => T, refusals: string[]): T | undefined {
  try {
    return part();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    refusals.push(error.message);
    return undefined;
  }
}
