// The stages of a reconcile pass work with the agent's parts, with its memory from one pass to the next,
// and with the values that the stages of one pass hand on to each other.
import { binaryPath } from "../install/binary.ts";
import { disk } from "../install/disk.ts";
import { findTarget } from "../install/target.ts";
import type { ReplacedEndpoints } from "../plan/peers/replaced-endpoints.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Programmed } from "../reconcile/new-pod-cidrs.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import type { DeviceReading } from "../reconcile/observe.ts";
import type { Session } from "../reconcile/session.ts";
import type { View } from "../sources/node-view.ts";
import type { Attachment } from "../state/model.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { ProblemLog } from "../telemetry/problem-log.ts";
import { AgentClock } from "./clock.ts";
import { DeadMan } from "./dead-man.ts";
import type { SetDeadline } from "./deadlines.ts";
import { DriftDetector } from "./drift.ts";
import { EndpointWrites } from "./endpoint-writes.ts";
import { Gate } from "./gate.ts";
import { HeapTrimmer } from "./heap-trimmer.ts";
import { Installation } from "./installation.ts";
import { OrphanedPods } from "./orphaned-pods.ts";
import { PathCheck } from "./path-check.ts";
import { PlaintextWatch } from "./plaintext-watch.ts";
import { PluginCache } from "./plugin-cache.ts";
import { PortChecks } from "./port-checks.ts";
import { RecordSync } from "./record-sync.ts";
import { RepairLog } from "./repair-log.ts";
import { KeyRotation } from "./rotation.ts";
import { SlotLog } from "./slot-log.ts";
import { isPollOnly, type Trigger, type Triggers } from "./triggers.ts";
import type { UnderlayFilter } from "./underlay-filter.ts";

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
  /** The records must be read again at that time, even if no source has news; undefined removes the deadline. */
  readonly setDeadline: SetDeadline;
}

/** The parts of the agent that stages use. They live as long as the agent. */
export type Parts = ReturnType<typeof makeParts>;

export function makeParts(session: Session, options: PassOptions) {
  const { log, requestReconcile, setDeadline, wallClock, version, node, metrics } = options;
  const { store } = session;
  const now = () => performance.now();
  const writes = new EndpointWrites(wallClock);
  return {
    writes,
    gate: new Gate(session, writes),
    deadMan: new DeadMan(store, log, () => requestReconcile("control plane")),
    rotation: new KeyRotation(store, log),
    clock: new AgentClock(log, wallClock),
    records: new RecordSync(session, {
      ...{ log, version, wallClock, setDeadline, onChange: () => requestReconcile("records") },
      ...(node === undefined ? {} : { node }),
    }),
    installation: new Installation(() => findTarget(readSettings(store)), {
      ...{ log, disk, now, source: "/proc/self/exe" },
      onChange: () => requestReconcile("network configuration"),
    }),
    pluginCache: new PluginCache(() => binaryPath(readSettings(store).installBinDir), { log, now }),
    orphans: new OrphanedPods({ log, now, onRelease: (pods) => metrics.podsReleased(pods) }),
    slots: new SlotLog(log),
    problems: new ProblemLog(log),
    drift: new DriftDetector(),
    paths: new PathCheck(),
    ports: new PortChecks(),
    plaintext: new PlaintextWatch(log),
    repairs: new RepairLog(log),
    heap: new HeapTrimmer(now),
  };
}

/** The agent remembers this from one pass to the next. */
export interface Memory {
  /** The node as of the last pass that read the store; undefined if it is not up. */
  view?: View | undefined;
  /** The state of the mesh after the last sync. */
  state?: MeshState;
  /** The mesh as the last sync has programmed it, with what was added since; absent before the first one. */
  programmed?: Programmed;
  /** The commands of the last sync that the kernel refused. */
  refusedCommands: ReadonlySet<string>;
  /** The peers that this node's record asks to initiate a handshake. */
  asks: readonly string[];
  /** A clause that names the damage of another process that the last sync has repaired. */
  lastRepair?: string | undefined;
  /** The indexes of this node's devices, as they were read last. */
  deviceIndexes: ReadonlySet<number>;
  /** Pods that have not yet received the tunnel's MTU. */
  waitingPods: readonly Attachment[];
}

/** The decision of the gate and the rotation in a pass. */
export interface Decision {
  /** True if the kernel must follow. */
  readonly changed: boolean;
  /** True if another process has changed what the poll reads. */
  readonly drifted: boolean;
  /** The endpoints that another process has replaced; absent if there are none. */
  readonly replacedEndpoints?: ReplacedEndpoints;
  /** True if a peer waits for a handshake. */
  readonly hurry: boolean;
  /** The links and devices as the gate has read them. */
  readonly reading?: DeviceReading;
}

/** One pass. Each stage reads what the stages before it have set. */
export interface PassContext {
  readonly session: Session;
  readonly options: PassOptions;
  readonly parts: Parts;
  readonly memory: Memory;
  readonly triggers: Triggers;
  /** True if the pass only polls the devices. */
  readonly isPoll: boolean;
  /** True if the poll has shown nothing, so the kernel is as the store says. */
  isIdle: boolean;
  decision: Decision;
  /** The requests that have changed something before the sync, for new pod CIDRs. */
  addedWrites: number;
  /** True if the announced pods have changed. */
  hasNewPods: boolean;
  /** When stages want the next pass, in milliseconds from now. */
  readonly wakesInMs: number[];
  /** The refusals of the store, as sentences, in the order of the stages. */
  readonly refusals: string[];
  /** Why the mesh is not programmed. */
  syncProblem?: string | undefined;
  /** True if packets for a peer go another way than intended, although the mesh is programmed. */
  hasDrift: boolean;
  /** Why pods are not attached through us. */
  installationProblem?: string | undefined;
}

export function beginPass(
  base: Pick<PassContext, "session" | "options" | "parts" | "memory">,
  triggers: Triggers,
): PassContext {
  return {
    ...base,
    triggers,
    isPoll: isPollOnly(triggers),
    isIdle: false,
    decision: { changed: false, drifted: false, hurry: false },
    addedWrites: 0,
    hasNewPods: false,
    hasDrift: false,
    wakesInMs: [],
    refusals: [],
  };
}

/** The most urgent problem of the pass so far. */
export function problemOf({ refusals, syncProblem, installationProblem }: PassContext): string | undefined {
  return refusals[0] ?? syncProblem ?? installationProblem;
}
