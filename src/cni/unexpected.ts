// Answers a process that ended by an error which no part of it has expected: a runtime gets an error with a code, a
// person gets a sentence, and the trace goes to the log. It is loaded only then.
import { newestVersion } from "../net/cni-version.ts";
import { printable } from "../net/printable.ts";
import { findTrace, formatError, toCniError } from "./error.ts";
import { logTrace } from "./log.ts";

export interface Circumstances {
  /** CNI_COMMAND; undefined for a command line. */
  readonly command: string | undefined;
  /** True if standard output has something already: another answer behind it would make both unreadable. */
  readonly hasPrinted: boolean;
  readonly stateDir: string;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/** The longest sentence, in characters. */
const maxLength = 4000;

/** Returns the exit code. */
export function answerUnexpected(thrown: unknown, around: Circumstances): number {
  const { command, hasPrinted, stateDir, stdout, stderr } = around;
  const error = toCniError(thrown);
  const trace = findTrace(thrown);
  if (trace !== undefined) logTrace(stateDir, command ?? "wg-cni", trace);
  const sentence = `wg-cni: ${printable(error.message, maxLength)}\n`;
  const isAnswered =
    command !== undefined && !hasPrinted && tryPrint(stdout, `${formatError(error, newestVersion)}\n`);
  if (!isAnswered) tryPrint(stderr, sentence);
  return 1;
}

/** Returns false if the output is closed or full, which may be the error itself. */
function tryPrint(print: (text: string) => void, text: string): boolean {
  try {
    print(text);
    return true;
  } catch {
    return false;
  }
}
