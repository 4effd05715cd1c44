// The agent's log: one line for each event, as text or JSON. The level can be switched while running,
// and the caller provides the writer. Text of other nodes and servers is escaped and shortened here,
// and the rate of equal lines is bounded.
import { escapeControls, printable } from "../net/printable.ts";
import { LineBudget } from "./log-budget.ts";

export type Level = "debug" | "info" | "warn" | "error";
export type LogFormat = "text" | "json";
export type Fields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Bounds the message and each field. */
const maxCharacters = 2000;

const order: readonly Level[] = ["debug", "info", "warn", "error"];

export interface LogOptions {
  readonly format: LogFormat;
  readonly level: Level;
  readonly write: (line: string) => void;
  /** Present time as ISO 8601. */
  readonly now: () => string;
  /** Milliseconds of a monotonic clock; by default the process's own. */
  readonly monotonicMs?: () => number;
}

export class Log {
  #level: Level;
  readonly #budget = new LineBudget();

  constructor(private readonly options: LogOptions) {
    this.#level = options.level;
  }

  get level(): Level {
    return this.#level;
  }

  /** Switches between "debug" and the initial level. */
  toggleDebug(): void {
    this.#level = this.#level === "debug" ? this.options.level : "debug";
    this.info("log level changed", { to: this.#level });
  }

  debug(message: string, fields?: Fields): void {
    this.#line("debug", message, fields);
  }

  info(message: string, fields?: Fields): void {
    this.#line("info", message, fields);
  }

  warn(message: string, fields?: Fields): void {
    this.#line("warn", message, fields);
  }

  error(message: string, fields?: Fields): void {
    this.#line("error", message, fields);
  }

  #line(level: Level, message: string, fields: Fields = {}): void {
    if (order.indexOf(level) < order.indexOf(this.#level)) return;
    const { monotonicMs = () => performance.now(), write } = this.options;
    // Debug lines have no budget.
    const grant = level === "debug" ? { leftOut: 0 } : this.#budget.take(message, monotonicMs());
    if (grant === undefined) return;
    const all = grant.leftOut === 0 ? fields : { ...fields, leftOut: grant.leftOut };
    write(`${this.#format(level, message, all)}\n`);
  }

  #format(level: Level, message: string, fields: Fields): string {
    const time = this.options.now();
    const given = Object.entries(fields).filter(([, value]) => value !== undefined);
    if (this.options.format === "json") {
      const values = given.map(([name, value]) => [name, typeof value === "string" ? cut(value) : value]);
      return escapeControls(
        JSON.stringify({ time, level, message: cut(message), ...Object.fromEntries(values) }),
      );
    }
    const words = given.map(([name, value]) => ` ${name}=${quote(String(value))}`).join("");
    return `${time} ${level.padEnd(5)} ${printable(message, maxCharacters)}${words}`;
  }
}

function quote(text: string): string {
  return escapeControls(/^[^\s"=]+$/.test(text) ? cut(text) : JSON.stringify(cut(text)));
}

function cut(text: string): string {
  return text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters)}…`;
}
