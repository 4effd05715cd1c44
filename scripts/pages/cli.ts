// docs/reference/cli.md: every command with its flags, the exit codes and the environment.
import { type Command, exitCodes, type Flag } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";
import { commonFlags } from "../../src/cli/flags.ts";
import { settingFlag } from "../../src/cli/setting-flags.ts";
import { settingNames } from "../../src/plan/settings/settings.ts";
import { describeEnvironment } from "./environment.ts";
import { code, page, sentence, table } from "./markdown.ts";

const settingFlags: readonly string[] = settingNames.map(settingFlag);

export function cliPage(root: string): string {
  return page(
    "# Command line",
    `\`wg-cni COMMAND [flags]\`. \`wg-cni --help\` and \`wg-cni COMMAND --help\` print the same as this page.
With \`--json\` every command prints JSON on standard output, an error included (\`{"error": …}\`).`,
    table(
      ["Command", "What it does"],
      commands.map(({ name, summary }) => [`[${code(name)}](#${anchor(name)})`, sentence(summary)]),
    ),
    "## Flags of every command",
    flagTable(commonFlags),
    ...commands.map(section),
    "## Exit codes",
    table(
      ["Code", "Meaning"],
      exitCodes.map(([exitCode, meaning]) => [code(String(exitCode)), sentence(meaning)]),
    ),
    "## Environment",
    `wg-cni reads these variables and no other. With \`CNI_COMMAND\` set it is the plugin, whose variables
are in [cni-configuration.md](cni-configuration.md).`,
    table(["Variable", "Meaning"], describeEnvironment(root, "cli")),
  );
}

function section({ name, operands, summary, details, flags }: Command): string {
  const usage = ["wg-cni", name, operands ?? "", "[flags]"].filter((word) => word !== "").join(" ");
  const takesSettings = settingFlags.every((name) => flags.some((flag) => flag.name === name));
  const own = takesSettings ? flags.filter(({ name }) => !settingFlags.includes(name)) : flags;
  return page(
    `## ${name}`,
    sentence(summary),
    `\`\`\`\n${usage}\n\`\`\``,
    details ?? "",
    own.length === 0 ? "" : flagTable(own),
    takesSettings ? "A flag for each of the [settings](settings.md) can be given too." : "",
  ).trimEnd();
}

function flagTable(flags: readonly Flag[]): string {
  const rows = flags.map(({ name, value, repeated, help }) => [
    code(value === undefined ? `--${name}` : `--${name} ${value}`),
    `${sentence(help)}${repeated ? " May be given several times." : ""}`,
  ]);
  return table(["Flag", "Meaning"], rows);
}

/** Makes the anchor of a heading as GitHub does. */
function anchor(heading: string): string {
  return heading.replaceAll(" ", "-");
}
