// A check is a row of a table and returns a finding, so the command line can print all of
// them and a test can run each of them alone.
import type { Facts } from "./facts.ts";

/** "warn": works, but not as well as it could, or for not much longer. "fail": something that was asked for is not so. */
export type Level = "ok" | "warn" | "fail";

export interface Finding {
  readonly level: Level;
  readonly what: string;
  /** One line each: a peer, a record, a command. */
  readonly details?: readonly string[];
  /** What to do; absent where `what` says that too, or nothing is wrong. */
  readonly remedy?: string;
}

export interface Check {
  /** One or two words. */
  readonly name: string;
  /** What goes wrong where it is not so; shown beside what was found. */
  readonly why: string;
  /** Undefined where there is nothing to check on this node. Pure. */
  readonly run: (facts: Facts) => Finding | undefined;
}

export function ok(what: string): Finding {
  return { level: "ok", what };
}

export function warn(what: string, remedy: string, details: readonly string[] = []): Finding {
  return { level: "warn", what, remedy, details };
}

export function fail(what: string, remedy?: string, details: readonly string[] = []): Finding {
  return { level: "fail", what, details, ...(remedy === undefined ? {} : { remedy }) };
}

/** More are counted, not listed. */
const longestList = 10;

/** The first of them, and how many more there are. */
export function shorten(lines: readonly string[]): string[] {
  if (lines.length <= longestList) return [...lines];
  return [...lines.slice(0, longestList), `and ${lines.length - longestList} more`];
}
