// A subcommand is a row of the table in commands.ts. Commands take their context as
// an argument and return their output; they neither print nor exit.
import type { Style } from "./style.ts";

export interface Flag {
  /** Long name without dashes. */
  readonly name: string;
  /** Placeholder of the value; absent for a switch. */
  readonly value?: string;
  readonly repeated?: boolean;
  readonly help: string;
}

/** The flags as given: a list of values for a flag that takes one, membership in `switches` for one that does not. */
export interface Given {
  readonly values: ReadonlyMap<string, readonly string[]>;
  readonly switches: ReadonlySet<string>;
  readonly positional: readonly string[];
}

/** The executable that runs. */
export interface Program {
  readonly version: string;
  /** Differs if the sources do. */
  readonly build: string;
}

export interface Context extends Program {
  readonly given: Given;
  readonly stateDir: string;
  readonly nowMs: number;
  /** The function prints to standard error; commands that run for long report progress with it. */
  readonly stderr: (text: string) => void;
  /** Returns all of standard input. Throws UsageError if it is larger than `maxBytes`. */
  readonly readStdin: (maxBytes: number) => string;
}

/** The output of a command: JSON for `--json`, text for people. */
export interface Output {
  readonly json: unknown;
  readonly text: (style: Style) => string;
  /** Default 0. */
  readonly exitCode?: number;
}

export interface Command {
  /** One or two words, as typed. */
  readonly name: string;
  /** The usage line shows the operands after the name. */
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
  [1, "failed; standard error states what failed, where, and what to do"],
  [2, "the command line or the input is wrong; nothing was changed"],
  [3, "status, doctor, sync: the node is not up, or its state differs from the desired state"],
] as const;

/** The command line, or the input of a command, is wrong. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Returns the last value of a flag, or undefined if it was not given. */
export function findValue(given: Given, name: string): string | undefined {
  return given.values.get(name)?.at(-1);
}
