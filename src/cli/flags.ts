// The parser turns the words of a command line into flags, with minimist and the
// command's own table. A flag that is not in the table is an error that names the
// nearest flag, and a value is never lost or guessed.
import minimist from "minimist";
import { suggest } from "../net/suggest.ts";
import { type Command, type Flag, type Given, UsageError } from "./command.ts";

/** Every command has these flags. */
export const commonFlags: readonly Flag[] = [
  { name: "state-dir", value: "DIR", help: "directory of the state store (default /var/lib/wg-cni)" },
  { name: "json", help: "print JSON instead of text" },
  { name: "help", help: "print this help" },
];

/** Reads the words after the command's name. Throws UsageError. */
export function parseFlags(command: Command, words: readonly string[]): Given {
  const flags = [...command.flags, ...commonFlags];
  const valued = flags.filter((flag) => flag.value !== undefined).map((flag) => flag.name);
  const switches = flags.filter((flag) => flag.value === undefined).map((flag) => flag.name);
  const parsed = minimist([...words], {
    string: ["_", ...valued],
    boolean: switches,
    alias: { help: "h" },
    unknown: (word) => {
      if (word.startsWith("-") && word !== "-") throw new UsageError(explainUnknown(word, flags));
      return true;
    },
  });
  const values = new Map<string, readonly string[]>();
  for (const flag of flags) {
    if (flag.value === undefined || parsed[flag.name] === undefined) continue;
    const given: readonly string[] = [parsed[flag.name]].flat();
    if (given.includes(""))
      throw new UsageError(`--${flag.name} needs a value: --${flag.name} ${flag.value}`);
    if (given.length > 1 && !flag.repeated) throw new UsageError(`--${flag.name} may be given only once`);
    values.set(flag.name, given);
  }
  const positional = parsed._.map(String);
  const most = command.maxOperands ?? 0;
  if (positional.length > most)
    throw new UsageError(`"${positional[most]}" is one argument too many for ${command.name}`);
  return { values, switches: new Set(switches.filter((name) => parsed[name] === true)), positional };
}

function explainUnknown(word: string, flags: readonly Flag[]): string {
  const name = word.replace(/^-+/, "").replace(/=.*/, "");
  const near = suggest(
    name,
    flags.map((flag) => flag.name),
  );
  return `there is no flag "${word.replace(/=.*/, "")}"${near === undefined ? "" : `; did you mean --${near}?`}`;
}
