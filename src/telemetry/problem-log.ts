// Logs problems that last, such as a rejected record or a port that another program has. A problem causes
// a line when it begins and when it changes, none while it lasts, and one when it ends:
//
//   warn  record rejected file=n2.json reason="it is empty"
//   info  resolved: record rejected file=n2.json reason="it is empty"
import type { Fields, Level, Log } from "./log.ts";
import { type LogLine, logFew } from "./log-lines.ts";

export interface Problem {
  readonly message: string;
  /** A problem has changed if its message or one of these differs. */
  readonly fields?: Fields;
  /** Further fields that vary or are costly: they are made for a line only, and not compared. */
  readonly details?: () => Fields;
  /** The default is "warn". */
  readonly level?: Level;
  /** The line of the end calls the problem by this name; the default is its message. */
  readonly name?: string;
}

export class ProblemLog {
  /** The problems that last, by topic and key. */
  readonly #lasting = new Map<string, ReadonlyMap<string, Problem>>();

  constructor(private readonly log: Log) {}

  /** Reports the one problem that a topic can have; undefined if there is none. Returns true if it caused a line. */
  reportOnChange(topic: string, problem: Problem | string | undefined): boolean {
    const now = typeof problem === "string" ? { message: problem } : problem;
    return this.reportAllOnChange(topic, new Map(now === undefined ? [] : [["", now]]));
  }

  /**
   * Reports all problems that a topic has, by key; those that are missing have ended. `listedBy`: the
   * command that lists problems of this kind. Returns true if they caused a line.
   */
  reportAllOnChange(topic: string, problems: ReadonlyMap<string, Problem>, listedBy?: string): boolean {
    const before = this.#lasting.get(topic) ?? new Map<string, Problem>();
    this.#lasting.set(topic, problems);
    const begun = [...problems].filter(([key, problem]) => !isSame(before.get(key), problem));
    const ended = [...before].filter(([key]) => !problems.has(key));
    const lines = [...begun.map(([, problem]) => lineOf(problem)), ...ended.map(([, one]) => endOf(one))];
    logFew(this.log, lines, listedBy);
    return lines.length > 0;
  }

  /** Forgets all problems without a line, because the thing that has them is replaced. */
  forget(): void {
    this.#lasting.clear();
  }
}

function lineOf({ message, fields, details, level = "warn" }: Problem): LogLine {
  return { level, message, fields: { ...fields, ...details?.() } };
}

function endOf({ message, fields = {}, name = message }: Problem): LogLine {
  return { level: "info", message: `resolved: ${name}`, fields };
}

function isSame(before: Problem | undefined, now: Problem): boolean {
  return before?.message === now.message && Bun.deepEquals(before.fields, now.fields);
}
