// Judges the failures of a sync: objects that this host does not support, failures that concern only the
// traffic to one peer, and failures that keep a family or everything from working.
import type { Family } from "../net/ip.ts";
import { findExtent, findUnsupported } from "../plan/mesh/capabilities.ts";
import type { Step } from "../plan/step.ts";
import type { Failure } from "./apply.ts";

export interface Outcome {
  /** The failures, without those of objects that this host cannot have. */
  readonly failures: readonly Failure[];
  /** The failures of these that concern more than the traffic to one peer. */
  readonly blocking: readonly Failure[];
  /** True if something failed that every pod needs. */
  readonly isWhole: boolean;
  readonly unmet: readonly Family[];
  /** The objects that this host cannot have, by kind, with the reason. */
  readonly unsupported: Readonly<Record<string, string>>;
}

/** `again` applies steps once more: if another program has changed nftables in between, the error is the same. */
export function judgeFailures(
  first: readonly Failure[],
  again: (steps: readonly Step[]) => readonly Failure[],
): Outcome {
  const isTable = ({ step, error }: Failure) =>
    step.do === "applyFirewall" && findUnsupported(step, error) !== undefined;
  const tables = first.filter(isTable);
  const all = [...first.filter((failure) => !isTable(failure)), ...again(tables.map(({ step }) => step))];
  const unsupported: Record<string, string> = {};
  const failures = all.filter(({ step, error }) => {
    const lack = findUnsupported(step, error);
    if (lack !== undefined) unsupported[lack[0]] = lack[1];
    return lack === undefined;
  });
  const blocking = failures.filter(({ step }) => findExtent(step) !== "peer");
  const extents = blocking.map(({ step }) => findExtent(step));
  return {
    ...{ failures, blocking, unsupported, isWhole: extents.includes("all") },
    unmet: extents.filter((extent) => extent === 4 || extent === 6),
  };
}

/**
 * Returns a sentence that says why a pod with addresses of `families` cannot have what the mode
 * promises; undefined if it can. A failure that concerns only the traffic to one peer is no reason.
 */
export function findObstacle(
  { blocking, unmet }: Pick<Outcome, "blocking" | "unmet">,
  families: readonly Family[] = [4, 6],
): string | undefined {
  const isMet = ({ step }: Failure) => {
    const extent = findExtent(step);
    return extent !== "all" && extent !== "peer" && !families.includes(extent);
  };
  const failure = blocking.find((each) => !isMet(each));
  if (failure !== undefined) return failure.error.message;
  const open = unmet.find((family) => families.includes(family) && blocking.length === 0);
  return open === undefined
    ? undefined
    : `the kernel has neither routing rules for IPv${open} nor nftables, so nothing keeps IPv${open} from leaving past the tunnel`;
}
