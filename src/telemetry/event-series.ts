// The metrics that are counted or set when something happens, one table row each.
// The metrics that are read when a scrape comes are in series.ts. Pure.
import type { SeriesHead } from "./series.ts";

export interface HistogramHead extends Omit<SeriesHead, "type"> {
  readonly type: "histogram";
  /** Upper bounds in seconds. */
  readonly buckets: readonly number[];
}

/** A sync with nothing to do takes milliseconds; one that programs thousands of peers takes seconds. */
const syncBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** An ADD takes some 8 ms; one that programs the mesh first, or waits for a lock, takes up to a minute. */
const verbBuckets = [0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

export const eventSeries = {
  syncs: counter("wg_cni_syncs_total", "Comparisons of kernel and store, by result.", ["result"]),
  syncDuration: histogram(
    "wg_cni_sync_duration_seconds",
    "Time that a comparison of kernel and store took, with what it changed.",
    [],
    syncBuckets,
  ),
  writes: counter("wg_cni_sync_writes_total", "Changes that were asked of the kernel."),
  corrections: counter(
    "wg_cni_drift_corrections_total",
    "Steps that restored what another process had changed in the kernel, by step.",
    ["step"],
  ),
  lastSync: gauge(
    "wg_cni_last_sync_timestamp_seconds",
    "Unix time of the last comparison of kernel and store that ended well; 0 is never.",
  ),
  desired: gauge("wg_cni_objects_desired", "Kernel objects that there should be, by kind.", ["kind"]),
  programmed: gauge(
    "wg_cni_objects_programmed",
    "Kernel objects that there are after the last comparison, by kind.",
    ["kind"],
  ),
  problems: counter("wg_cni_problems_total", "Problems that appeared; one that stands counts once."),
  gateChanges: counter("wg_cni_gate_changes_total", "What the gate saw or did, by change.", ["change"]),
  repairSteps: counter(
    "wg_cni_recovery_steps_total",
    "Recovery steps that the agent ran for peers that stayed silent under traffic, by step.",
    ["step"],
  ),
  eventLosses: counter(
    "wg_cni_event_losses_total",
    "Times that the kernel's events overran the agent, which then compared everything.",
  ),
  releases: counter(
    "wg_cni_pods_released_total",
    "Pods that were released because their network namespace was gone and no DEL came.",
  ),
  rotationWaits: gauge(
    "wg_cni_rotation_waiting_peers",
    "Peers that the rotation of this node's keys waits for.",
  ),
  ready: gauge("wg_cni_ready", "1 if /readyz is ok."),
  readable: gauge("wg_cni_facts_readable", "1 if the state of node and peers could be read for this scrape."),
  verbs: histogram(
    "wg_cni_verb_duration_seconds",
    "Time that calls of the plugin took, by verb and result, since the agent's start.",
    ["verb", "result"],
    verbBuckets,
  ),
  verbFailures: counter(
    "wg_cni_verb_failures_total",
    "Calls of the plugin that failed, by verb and code of the CNI error, since the agent's start.",
    ["verb", "code"],
  ),
  malformed: counter(
    "wg_cni_call_log_lines_malformed_total",
    "Lines of the call log (`calls.log`) that could not be read.",
  ),
  buildInfo: gauge("wg_cni_build_info", "Version of this executable; always 1.", ["version"]),
} as const;

function counter(name: string, help: string, labels: readonly string[] = []): SeriesHead {
  return { name, type: "counter", help, labels };
}

function gauge(name: string, help: string, labels: readonly string[] = []): SeriesHead {
  return { name, type: "gauge", help, labels };
}

function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  buckets: readonly number[],
): HistogramHead {
  return { name, type: "histogram", help, labels, buckets };
}
