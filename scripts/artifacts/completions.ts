// Completions for bash, zsh and fish, made of the table of commands: the words of a command, then its flags.
import type { Command, Flag } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";
import { commonFlags } from "../../src/cli/flags.ts";

interface Choice {
  /** The words before, as typed: "", "peer" or "peer import". */
  readonly before: string;
  readonly words: readonly string[];
}

const firstWords = [...new Set(commands.map(({ name }) => name.split(" ")[0] as string))];

function flagsOf({ flags }: Command): readonly Flag[] {
  return [...flags, ...commonFlags];
}

/** The operands of a command that are words, not placeholders. */
function wordOperands({ operands = "" }: Command): string[] {
  return operands.match(/\b[a-z]+\b/g) ?? [];
}

function choices(): Choice[] {
  const groups = firstWords.flatMap((first) => {
    const second = commands.flatMap(({ name }) =>
      name.startsWith(`${first} `) ? [name.split(" ")[1] as string] : [],
    );
    return second.length === 0 ? [] : [{ before: first, words: second }];
  });
  return [
    { before: "", words: firstWords },
    ...groups,
    ...commands.map((command) => ({
      before: command.name,
      words: [...wordOperands(command), ...flagsOf(command).map(({ name }) => `--${name}`)],
    })),
  ];
}

/** The flags that take a value, of all commands: none is a switch of another command. */
function valued(): string {
  const names = commands.flatMap((command) =>
    flagsOf(command).flatMap(({ name, value }) => (value === undefined ? [] : [`--${name}`])),
  );
  return [...new Set(names)].join("|");
}

/** Lines of a case statement of bash and zsh: `$typed` has the words before the first flag. */
function cases(offer: (words: string) => string): string {
  return choices()
    .map(
      ({ before, words }) =>
        `    ${before === "" ? '""' : `"${before}" | "${before} "*`}) ${offer(words.join(" "))} ;;`,
    )
    .join("\n");
}

export function bashCompletion(): string {
  return `# bash completion for wg-cni
_wg_cni() {
  local word=\${COMP_WORDS[COMP_CWORD]} typed="" choices="" i
  COMPREPLY=()
  case "\${COMP_WORDS[COMP_CWORD - 1]}" in ${valued()}) return ;; esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    [[ \${COMP_WORDS[i]} == -* ]] && break
    typed+="\${typed:+ }\${COMP_WORDS[i]}"
  done
  case "$typed" in
${cases((words) => `choices="${words}"`)}
  esac
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}
complete -o default -F _wg_cni wg-cni
`;
}

export function zshCompletion(): string {
  return `#compdef wg-cni
local typed="" word
case "\${words[CURRENT - 1]}" in ${valued()}) _files; return ;; esac
for word in "\${(@)words[2,CURRENT - 1]}"; do
  [[ $word == -* ]] && break
  typed+="\${typed:+ }$word"
done
case "$typed" in
${cases((words) => `compadd -- ${words}`)}
esac
`;
}

export function fishCompletion(): string {
  const quote = (text: string) =>
    `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", " ")}'`;
  const seen = (name: string) =>
    name
      .split(" ")
      .map((word) => `__fish_seen_subcommand_from ${word}`)
      .join("; and ");
  const lines = commands.flatMap((command) => {
    const [first = "", second] = command.name.split(" ");
    const when = quote(seen(command.name));
    return [
      second === undefined
        ? `complete -c wg-cni -n __fish_use_subcommand -a ${first} -d ${quote(command.summary)}`
        : `complete -c wg-cni -n ${quote(seen(first))} -a ${second} -d ${quote(command.summary)}`,
      ...wordOperands(command).map((word) => `complete -c wg-cni -n ${when} -a ${word}`),
      ...command.flags.map(
        ({ name, value, help }) =>
          `complete -c wg-cni -n ${when} -l ${name}${value === undefined ? "" : " -r"} -d ${quote(help)}`,
      ),
    ];
  });
  const groups = firstWords
    .filter((first) => commands.every(({ name }) => name !== first))
    .map((first) => `complete -c wg-cni -n __fish_use_subcommand -a ${first}`);
  const common = commonFlags.map(
    ({ name, value, help }) =>
      `complete -c wg-cni -l ${name}${value === undefined ? "" : " -r"} -d ${quote(help)}`,
  );
  return ["# fish completion for wg-cni", ...groups, ...lines, ...common, ""].join("\n");
}
