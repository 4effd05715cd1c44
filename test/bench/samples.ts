// The benchmark's numbers: names of what is compared, and medians of samples.
// Shared by the process that measures (in a node) and the one that prints.

/** The compared plugins. "main" makes an interface, "chained" works on a prevResult. */
export type Contender =
  | "ptp"
  | "current ptp"
  | "bridge"
  | "current bridge"
  | "wg-cni"
  | "tuning"
  | "current tuning"
  | "wg-cni chained"
  | "cilium-cni"
  | "empty program";
/** A cold start is a VERSION whose executable is not in the page cache. */
export type Verb = "ADD" | "DEL" | "CHECK" | "STATUS" | "VERSION" | "cold start";

/** Milliseconds by "VERB contender", for instance "ADD ptp". */
export type Samples = Record<string, number[]>;

/** One burst: `count` calls at once. */
export interface Burst {
  readonly contender: Contender;
  readonly verb: "ADD" | "DEL";
  readonly count: number;
  readonly wallMs: number;
  /** The failures, at most one sentence each. */
  readonly failures: readonly string[];
}

export interface Measured {
  readonly samples: Samples;
  readonly bursts: readonly Burst[];
}

export interface Options {
  /** False while plugin-bin/wg-cni cannot be brought up: then only the reference plugins run. */
  readonly product: boolean;
  /** The directory of the current reference plugins; absent if they are not built. */
  readonly currentPlugins?: string;
  /** The path of cilium-cni; absent if it is not built. */
  readonly cilium?: string;
  /** The path of a program that does nothing, made by the compiler that makes wg-cni. */
  readonly emptyProgram: string;
  /** A directory on disk. */
  readonly storage: string;
  readonly iterations: number;
  readonly warmup: number;
  readonly bursts: readonly number[];
  readonly burstRounds: number;
  readonly coldStarts: number;
}

export function addSample(samples: Samples, verb: Verb, contender: Contender, milliseconds: number): void {
  const key = `${verb} ${contender}`;
  samples[key] ??= [];
  samples[key].push(milliseconds);
}

/** Of a list that is not empty; `fraction` 0.5 is the median, 0.9 the p90 (nearest rank). */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = Math.max(0, Math.ceil(fraction * sorted.length) - 1);
  return sorted[at] as number;
}
