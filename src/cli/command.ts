// What a subcommand is: a row of the table in commands.ts. Commands take their
// surroundings as an argument and return what to print; they neither print nor
// exit.
import type { Style } from "./style.ts";

export interface Flag {
  /** Long name without dashes. */
  readonly name: string;
  /** Placeholder of the value; absent for a switch. */
  readonly value?: string;
  readonly repeated?: boolean;
  readonly help: string;
}

/** Flags as given: a list where the flag takes a value, true for a switch. */
export interface Given {
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly switches: ReadonlySet<string>;
  readonly positional: readonly string[];
}

export interface Context {
  readonly given: Given;
  readonly stateDir: string;
  readonly nowMs: number;
  readonly version: string;
  /** Prints to standard error; for what runs long. */
  readonly stderr: (text: string) => void;
  /** All of standard input; throws UsageError where it is larger than `maxBytes`. */
  readonly readStdin: (maxBytes: number) => string;
}

/** What a command has to say: JSON for `--json`, text for people. */
export interface Output {
  readonly json: unknown;
  readonly text: (style: Style) => string;
  /** Default 0. */
  readonly exitCode?: number;
}

export interface Command {
  /** One or two words, as typed. */
  readonly name: string;
  /** What comes after the name in the usage line. */
  readonly operands?: string;
  readonly summary: string;
  readonly details?: string;
  readonly flags: readonly Flag[];
  readonly maxOperands?: number;
  readonly load: () => Promise<(context: Context) => Output | Promise<Output>>;
}

/** Exit codes of the command line; `--help` prints this table. */
export const exitCodes = [
  [0, "done"],
  [1, "failed; standard error says what, where and what to do"],
  [2, "the command line or the input is wrong; nothing was changed"],
  [3, "status, doctor: the node is not up, or not as it should be"],
] as const;

/** Wrong words on the command line, or wrong input to a command. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The last value of a flag, or undefined where it was not given. */
export function findValue(given: Given, name: string): string | undefined {
  return given.values.get(name)?.at(-1);
}
