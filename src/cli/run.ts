// `runCli` finds the command, runs it, turns its output into text, JSON or an error sentence, and
// returns the exit code. It prints by the functions that it is given.
import { messageOf } from "../net/error.ts";
import { escapeControls, escapeLines, printable } from "../net/printable.ts";
import { defaultStateDir } from "../net/state-dir.ts";
import { suggest } from "../net/suggest.ts";
import { type Command, type Context, findValue, type Program, UsageError } from "./command.ts";
import { commands } from "./commands.ts";
import { parseFlags } from "./flags.ts";
import { renderCommandHelp, renderOverview } from "./help.ts";
import { makeStyle, type Style } from "./style.ts";

export interface Terminal {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** True if standard output shows colours. */
  readonly coloured: boolean;
  readonly readStdin: (maxBytes: number) => Uint8Array | undefined;
}

/** The longest error sentence, in characters. */
const maxErrorLength = 4000;

/** Runs `wg-cni WORDS…`; returns the exit code. */
export async function runCli(
  words: readonly string[],
  program: Program,
  terminal: Terminal,
): Promise<number> {
  const style = makeStyle(terminal.coloured);
  const asJson = words.includes("--json");
  try {
    return await dispatch(words, program, terminal, style);
  } catch (error) {
    const usage = error instanceof UsageError || (error instanceof Error && error.name === "ParseError");
    const message = messageOf(error);
    if (asJson) terminal.stdout(`${escapeControls(JSON.stringify({ error: message }))}\n`);
    else
      terminal.stderr(
        `wg-cni: ${error instanceof UsageError ? escapeLines(message) : printable(message, maxErrorLength)}\n`,
      );
    return usage ? 2 : 1;
  }
}

async function dispatch(
  words: readonly string[],
  program: Program,
  terminal: Terminal,
  style: Style,
): Promise<number> {
  const first = words[0];
  if (first === undefined || first === "help" || first === "--help" || first === "-h") {
    terminal.stdout(style.finish(renderOverview(commands, style)));
    return 0;
  }
  if (first === "--version") return dispatch(["version", ...words.slice(1)], program, terminal, style);
  const { command, rest } = findCommand(words);
  const given = parseFlags(command, rest);
  if (given.switches.has("help")) {
    terminal.stdout(style.finish(renderCommandHelp(command, style)));
    return 0;
  }
  const context: Context = {
    given,
    stateDir: absolute(findValue(given, "state-dir") ?? defaultStateDir),
    nowMs: Date.now(),
    ...program,
    stderr: (text) => terminal.stderr(escapeLines(text)),
    readStdin: (maxBytes) => readInput(terminal, maxBytes),
  };
  const run = await command.load();
  const output = await run(context);
  terminal.stdout(
    given.switches.has("json")
      ? escapeLines(`${JSON.stringify(output.json, null, 2)}\n`)
      : style.finish(output.text(style)),
  );
  return output.exitCode ?? 0;
}

/** Finds the command whose one or two words come first. Throws UsageError with the nearest name. */
function findCommand(words: readonly string[]): { command: Command; rest: readonly string[] } {
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(" ");
    const command = commands.find((candidate) => candidate.name === name);
    if (command !== undefined) return { command, rest: words.slice(count) };
  }
  throw new UsageError(explainUnknown(words[0] as string, words[1]));
}

function explainUnknown(first: string, second: string | undefined): string {
  const names = commands.map(({ name }) => name);
  const family = names.filter((name) => name.startsWith(`${first} `));
  if (family.length > 0 && (second === undefined || second.startsWith("-")))
    return `"wg-cni ${first}" needs one more word: ${family.join(", ")}`;
  const both = `${first} ${second ?? ""}`.trim();
  const typed = family.length > 0 ? both : first;
  const near = suggest(typed, names) ?? suggest(both, names);
  const hint = near === undefined ? 'see "wg-cni --help"' : `did you mean "${near}"?`;
  return `there is no command "${typed}"; ${hint}`;
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${process.cwd()}/${path}`;
}

function readInput(terminal: Terminal, maxBytes: number): string {
  const bytes = terminal.readStdin(maxBytes);
  if (bytes === undefined)
    throw new UsageError(`standard input is larger than ${maxBytes / 1024 / 1024} MiB`);
  return new TextDecoder().decode(bytes);
}
