// What the agent tells about itself, as plain values: once (AgentFacts), after
// every sync (SyncFacts) and when somebody asks (ScrapeFacts). Metrics and health
// are made of these, and know neither store nor kernel.
import type { Slot, SlotState } from "../net/record.ts";
import type { HostEncryption } from "../plan/host/host-encryption.ts";
import type { Mesh } from "../plan/mesh/model.ts";
import type { InterfaceArrivals, StrayPackets } from "../plan/report/arrivals.ts";
import type { PeerStatus } from "../plan/report/status.ts";
import type { Mode } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import type { SyncReport } from "../reconcile/mesh-plan.ts";

/** Known when the agent starts. */
export interface AgentFacts {
  readonly version: string;
  readonly stateDir: string;
  /** Milliseconds after which the agent looks even where nothing has changed. */
  readonly resyncMs: number;
  /** Present time in Unix milliseconds. */
  readonly nowMs: () => number;
  /** Milliseconds of a clock that nobody sets. */
  readonly monotonicMs: () => number;
  /** Undefined on a node that was never brought up. What it throws is logged, and the rest is served. */
  readonly collect: () => ScrapeFacts | undefined;
}

/** One sync, as it ended. */
export interface SyncFacts {
  readonly result: "ok" | "failed";
  readonly durationMs: number;
  /** State-changing requests sent to the kernel. */
  readonly writes: number;
  /** What had to be done although neither the store nor a decision of the agent had changed. */
  readonly corrections: readonly Step[];
  readonly programming: readonly Programming[];
}

/** How much of one kind of object there should be, and is. */
export interface Programming {
  readonly kind: ObjectKind;
  readonly desired: number;
  readonly programmed: number;
}

export type ObjectKind = "links" | "addresses" | "peers" | "routes" | "rules";

/** Read when a scrape comes. */
export interface ScrapeFacts {
  readonly node: string;
  readonly mode: Mode;
  readonly backend: "kernel" | "userspace";
  readonly peers: readonly PeerStatus[];
  readonly arrivals: readonly InterfaceArrivals[];
  readonly strays: readonly StrayPackets[];
  readonly slots: readonly SlotFacts[];
  /** What the store has, and what the kernel was last programmed to; absent where that is unknown. */
  readonly generation: { readonly desired: number; readonly programmed?: number };
  /** Seconds between rotations; 0 is never. */
  readonly keyRotationSeconds: number;
  readonly rotation: RotationFacts;
  readonly hostEncryption: HostEncryption;
  /** Records that were not taken, of the watched folder and of the Kubernetes API, and what stands in their way. */
  readonly rejectedRecords: number;
  /** Absent where records are not kept in the Kubernetes API. */
  readonly kubernetes?: KubernetesFacts;
}

export interface KubernetesFacts {
  /** Changes of the others' records are heard of. */
  readonly watching: boolean;
  /** The API has this node's record as it is. */
  readonly published: boolean;
}

export interface SlotFacts {
  readonly slot: Slot;
  readonly state: SlotState;
  /** Unix milliseconds; 0 is unknown. */
  readonly createdAtMs: number;
}

export interface RotationFacts {
  /** A few words of a small set ("scheduled", "draining a"): it becomes a label, so no names and no numbers in it. */
  readonly phase: string;
  /** Unix milliseconds; absent where none is going on. */
  readonly startedAtMs?: number;
}

/** `decided`: something of the agent's own had changed, so what was done is no correction. */
export function describeSync(report: SyncReport, durationMs: number, decided: boolean): SyncFacts {
  const { writes, steps, programmed, failures, desired, observed } = report;
  const wanted = countObjects(desired);
  // Where a step failed, what was found is the best that is known of what is there.
  const there = failures.length === 0 ? wanted : countObjects(observed);
  const programming = (Object.keys(wanted) as ObjectKind[]).map((kind) => ({
    kind,
    desired: wanted[kind],
    programmed: there[kind],
  }));
  return {
    result: failures.length === 0 ? "ok" : "failed",
    durationMs,
    writes,
    corrections: programmed && !decided ? steps : [],
    programming,
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
