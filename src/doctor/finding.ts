// A check is a row of a table and returns a finding, so the command line can print all of
// them and a test can run each of them alone.
import type { Facts } from "./facts.ts";

/** "warn": it works, but not as well as it could, or not for much longer. "fail": something that was requested is not the case. */
export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly level: Level;
  readonly summary: string;
  /** One line each: a peer, a record, a command. */
  readonly details?: readonly string[];
  /** The action that repairs it; absent if `summary` says that too, or if nothing is wrong. */
  readonly remedy?: string;
}

export interface Check {
  /** One or two words. */
  readonly name: string;
  /** The consequence if the check does not pass; it is shown beside the summary. */
  readonly impact: string;
  /** Returns undefined if there is nothing to check on this node. Pure. */
  readonly run: (facts: Facts) => Finding | undefined;
}

export function ok(summary: string): Finding {
  return { level: "ok", summary };
}

export function warn(summary: string, remedy: string, details: readonly string[] = []): Finding {
  return { level: "warn", summary, remedy, details };
}

export function fail(summary: string, remedy?: string, details: readonly string[] = []): Finding {
  return { level: "fail", summary, details, ...(remedy === undefined ? {} : { remedy }) };
}

/** If a list is longer, the rest is counted. */
const longestList = 10;

/** Returns the first lines, and a line that says how many more there are. */
export function shorten(lines: readonly string[]): string[] {
  if (lines.length <= longestList) return [...lines];
  return [...lines.slice(0, longestList), `and ${lines.length - longestList} more`];
}
