// wg-cni(8), made of the tables that the help is made of.
import { type Command, exitCodes, type Flag } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";
import { commonFlags } from "../../src/cli/flags.ts";
import { settingFlag } from "../../src/cli/setting-flags.ts";
import { settingNames } from "../../src/plan/settings/settings.ts";
import { describeEnvironment } from "../pages/environment.ts";
import { sentence } from "../pages/markdown.ts";

const settingFlags: readonly string[] = settingNames.map(settingFlag);
const isSetting = ({ name }: Flag) => settingFlags.includes(name);

export function manPage(root: string, version: string, time: Date): string {
  const settings = commands.find(takesSettings)?.flags.filter(isSetting) ?? [];
  return [
    `.TH WG\\-CNI 8 ${time.toISOString().slice(0, 10)} "wg\\-cni ${version}" "System administration"`,
    ".SH NAME\nwg\\-cni \\- encrypts pod traffic between nodes with WireGuard",
    ".SH SYNOPSIS\n.B wg\\-cni\n.I COMMAND\n[flags]",
    `.SH DESCRIPTION\n${roff("wg-cni is a CNI plugin, the agent of a node, and this command line. If CNI_COMMAND is set, it acts as the plugin.")}`,
    ".SH COMMANDS",
    ...commands.map(section),
    `.SH SETTINGS\n${roff("The commands up and agent take a flag for each setting.")}\n${flagList(settings)}`,
    `.SH FLAGS OF EVERY COMMAND\n${flagList(commonFlags)}`,
    `.SH EXIT STATUS\n${exitCodes.map(([code, meaning]) => entry(String(code), meaning)).join("\n")}`,
    `.SH ENVIRONMENT\n${describeEnvironment(root, "cli")
      .map(([name = "", meaning = ""]) => entry(name.replaceAll("`", ""), meaning.replaceAll("`", "")))
      .join("\n")}`,
    `.SH FILES\n${entry("/var/lib/wg-cni", "the state store, with sealed private keys, and the logs")}`,
    ".SH SEE ALSO\n.BR ip (8),\n.BR nft (8),\n.BR wg (8)\n",
  ].join("\n");
}

function takesSettings({ flags }: Command): boolean {
  return settingFlags.every((name) => flags.some((flag) => flag.name === name));
}

function section(command: Command): string {
  const { name, operands = "", summary, details = "", flags } = command;
  const own = takesSettings(command) ? flags.filter((flag) => !isSetting(flag)) : flags;
  return [
    `.SS ${roff(`wg-cni ${name} ${operands}`.trim())}`,
    roff(sentence(summary)),
    ...(details === "" ? [] : [`.PP\n${roff(details).replaceAll("\n\n", "\n.PP\n")}`]),
    ...own.map(flagEntry),
  ].join("\n");
}

function flagList(flags: readonly Flag[]): string {
  return flags.map(flagEntry).join("\n");
}

function flagEntry({ name, value, repeated, help }: Flag): string {
  const more = repeated ? " May be given several times." : "";
  return entry(value === undefined ? `--${name}` : `--${name} ${value}`, `${sentence(help)}${more}`);
}

function entry(term: string, meaning: string): string {
  return `.TP\n.B ${roff(term)}\n${roff(sentence(meaning))}`;
}

/** Escapes what roff takes for its own: backslashes, hyphens, and a control character at the start of a line. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^([.'])/gm, "\\&$1");
}
