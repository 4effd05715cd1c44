// Plain values that the agent reports about itself: once (AgentFacts), after every sync (SyncFacts) and
// for every scrape (ScrapeFacts). Metrics and health are made of these, and know neither store nor
// kernel.
import type { Slot, SlotState } from "../net/record.ts";
import type { HostEncryption } from "../plan/host/host-encryption.ts";
import type { Mesh } from "../plan/mesh/model.ts";
import type { InterfaceArrivals, StrayPackets } from "../plan/report/arrivals.ts";
import type { PeerStatus } from "../plan/report/peer-status.ts";
import type { PortGap } from "../plan/report/port-evidence.ts";
import type { Mode } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";

/** Known when the agent starts. */
export interface AgentFacts {
  readonly version: string;
  readonly stateDir: string;
  /** Milliseconds after which the agent reconciles even if nothing has changed. */
  readonly resyncMs: number;
  /** Present time in Unix milliseconds. */
  readonly nowMs: () => number;
  /** Milliseconds of a monotonic clock. */
  readonly monotonicMs: () => number;
  /** Asks the kernel where packets go; a sentence if some go another way than intended. Its errors are answers too. */
  readonly findPathProblem?: () => string | undefined;
  /** Returns a sentence if the file of the store is not the one that the agent has open. */
  readonly findStoreProblem?: () => string | undefined;
  /** The ports on which pairs of this node with a peer are not known to work. */
  readonly portGaps?: () => readonly PortGap[];
  /** Returns undefined on a node that was never brought up. Its errors are logged, and the rest is served. */
  readonly collect: () => ScrapeFacts | undefined;
}

/** Result of one sync. */
export interface SyncFacts {
  readonly result: "ok" | "failed";
  readonly durationMs: number;
  /** The requests that have changed something. */
  readonly writes: number;
  /** Steps that were needed although neither the store nor a decision of the agent had changed. */
  readonly corrections: readonly Step[];
  readonly objectCounts: readonly ObjectCount[];
}

/** Desired and present number of objects of one kind. */
export interface ObjectCount {
  readonly kind: ObjectKind;
  readonly desired: number;
  readonly programmed: number;
}

export type ObjectKind = "links" | "addresses" | "peers" | "routes" | "rules";

/** Facts that are read for a scrape. */
export interface ScrapeFacts {
  readonly node: string;
  readonly mode: Mode;
  readonly backend: "kernel" | "userspace";
  readonly peers: readonly PeerStatus[];
  readonly arrivals: readonly InterfaceArrivals[];
  readonly strayPackets: readonly StrayPackets[];
  readonly slots: readonly SlotSample[];
  /** Generation of the store, and the one that was last programmed; absent if unknown. */
  readonly generation: { readonly desired: number; readonly programmed?: number };
  /** Seconds between rotations; 0 is never. */
  readonly keyRotationSeconds: number;
  readonly rotation: RotationSample;
  readonly hostEncryption: HostEncryption;
  /** Number of rejected records of the records directory and the Kubernetes API, and of problems with all of them. */
  readonly rejectedRecords: number;
  /** Number of claims of peers' records that were refused. */
  readonly refusedClaims: number;
  /** Absent if records are not kept in the Kubernetes API. */
  readonly kubernetes?: KubernetesFacts;
}

export interface KubernetesFacts {
  /** True while changes of peers' records are received. */
  readonly watching: boolean;
  /** True if the API has this node's present record. */
  readonly published: boolean;
}

export interface SlotSample {
  readonly slot: Slot;
  readonly state: SlotState;
  /** Unix milliseconds; 0 is unknown. */
  readonly createdAtMs: number;
}

export interface RotationSample {
  /** One of a small set of phrases ("scheduled", "draining a"), because it becomes a label. */
  readonly phase: string;
  /** Unix milliseconds; absent if no rotation is under way. */
  readonly startedAtMs?: number;
}

/** `corrections`: the steps that brought back what another process had changed. */
export function describeSync(
  report: SyncReport,
  durationMs: number,
  corrections: readonly Step[],
): SyncFacts {
  const { writes, failures, desired, observed } = report;
  const wanted = countObjects(desired);
  // If a step failed, the observed state is the best knowledge.
  const there = failures.length === 0 ? wanted : countObjects(observed);
  const objectCounts = (Object.keys(wanted) as ObjectKind[]).map((kind) => ({
    kind,
    desired: wanted[kind],
    programmed: there[kind],
  }));
  return {
    result: failures.length === 0 ? "ok" : "failed",
    durationMs,
    writes,
    corrections,
    objectCounts,
  };
}

function countObjects({ links, devices, addresses, routes, rules }: Mesh): Record<ObjectKind, number> {
  return {
    links: links.size,
    addresses: addresses.length,
    // Every peer is on both devices.
    peers: [...devices.values()].reduce((sum, { peers }) => sum + peers.size, 0),
    routes: routes.length,
    rules: rules.length,
  };
}
