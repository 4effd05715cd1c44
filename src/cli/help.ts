// The help texts are made from the same tables that the commands run by.
import { type Command, exitCodes, type Flag } from "./command.ts";
import { commonFlags } from "./flags.ts";
import { alignColumns, type Style } from "./style.ts";

/** Returns the text of `wg-cni --help`. */
export function renderOverview(commands: readonly Command[], style: Style): string {
  const rows = commands.map((command) => [
    `  ${[command.name, command.operands ?? ""].join(" ").trim()}`,
    command.summary,
  ]);
  return `${style.bold("wg-cni")} encrypts pod traffic between nodes with WireGuard, with any CNI plugin.

${style.bold("Usage")}  wg-cni COMMAND [flags]

${style.bold("Commands")}
${alignColumns(rows)}

Every command takes --help and --json. If CNI_COMMAND is set, wg-cni acts as a CNI plugin.

${style.bold("Exit codes")}
${alignColumns(exitCodes.map(([code, meaning]) => [`  ${code}`, meaning]))}
`;
}

/** Returns the text of `wg-cni COMMAND --help`. */
export function renderCommandHelp(command: Command, style: Style): string {
  const usage = `wg-cni ${[command.name, command.operands ?? "", "[flags]"].filter((word) => word !== "").join(" ")}`;
  const details = command.details === undefined ? "" : `\n${command.details}\n`;
  const own = command.flags.length === 0 ? "" : `\n${style.bold("Flags")}\n${renderFlags(command.flags)}\n`;
  return `${sentence(command.summary)}

${style.bold("Usage")}  ${usage}
${details}${own}
${style.bold("Common flags")}
${renderFlags(commonFlags)}
`;
}

function renderFlags(flags: readonly Flag[]): string {
  return alignColumns(
    flags.map((flag) => {
      const value = flag.value === undefined ? "" : ` ${flag.value}${flag.repeated ? " …" : ""}`;
      return [`  --${flag.name}${value}`, flag.help];
    }),
  );
}

function sentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}
