// A fault that is made on node 1, or between it and node 2: what is done, from when on a report must know of it,
// and what takes it back if no remedy of the product does.
import type { FaultLab } from "./fault-lab.ts";

/** The kinds of things that a node has and that can be wrong. */
export const kinds = [
  ...["rules", "routes", "tables", "sets", "sysctls", "keys", "peers", "ports"],
  ...["devices", "processes", "records", "firewalls", "addresses", "clocks", "disks"],
] as const;
export type Kind = (typeof kinds)[number];

export interface Fault {
  /** Subject and fault in a few words; unique. */
  readonly name: string;
  readonly kind: Kind;
  /** Shell lines on node 1. */
  readonly script?: readonly string[];
  /** What else is done. */
  readonly make?: (faults: FaultLab) => unknown;
  /** What becomes of the agent before the fault is made; it runs unless told. */
  readonly agent?: "killed" | "stopped";
  /** From when on reports must know of it: at once, unless it is at another node. */
  readonly knownAfterS?: number;
  /** "peer": node 1 is well, and its probe must say so. "nobody": all is well, and every report must say so. */
  readonly blames?: "peer" | "nobody";
  /** True if the node cannot reach the API server either, so that it cannot write its conditions. */
  readonly isOffline?: true;
  /** False if pods are silent during the fault, but for the last sample. */
  readonly hasTraffic?: false;
  /** The times of the samples in seconds; 1, 5 and 60 unless told. */
  readonly sampleAtS?: readonly number[];
  /** Takes it back, if it is not for the product to mend: another program's rule, a firewall. */
  readonly undo?: (faults: FaultLab) => unknown;
}

export const devices = ["wg-cni-a", "wg-cni-b"] as const;

export const eachDevice = (line: (dev: string) => string): string[] => devices.map(line);

/** Deletes the rules that are the product's. */
export const deleteOwnRules: readonly string[] = [4, 6].map(
  (family) =>
    `ip -${family} rule show | sed -n 's/^\\([0-9]*\\):.*proto 118.*/\\1/p' | while read p; do ip -${family} rule delete priority $p; done`,
);

export const flushOwnRoutes: readonly string[] = [
  "ip route flush table 18099",
  "ip -6 route flush table 18099",
];

export const flushFirewall = "nft flush ruleset";
