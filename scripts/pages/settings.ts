// docs/reference/settings.md: each setting of a node with its flag, default and meaning.
import { settingFlag } from "../../src/cli/setting-flags.ts";
import { type SettingName, settingNames, showSetting } from "../../src/plan/settings/settings.ts";
import { settingTable } from "../../src/plan/settings/table.ts";
import { code, page, sentence, table } from "./markdown.ts";

export function settingsPage(): string {
  return page(
    "# Settings of a node",
    `Give a setting as a flag to \`wg-cni up\` or \`wg-cni agent\`. The node's store keeps it until it is
given again; the value \`default\` sets it back. \`wg-cni status --json\` lists each setting with its value
and where the value comes from: \`default\`, \`set\` (on this node) or \`mesh\`. In a cluster, the mode and the
networks of the object WireGuardMesh hold above those of the node; see [crd.md](crd.md).`,
    `A TIME is a number of seconds, or a number with \`s\`, \`m\`, \`h\` or \`d\`, such as \`90m\`. A list is
separated by commas. What a flag of the command line is for, beyond settings, is in [cli.md](cli.md).`,
    table(["Flag", "Value", "Default", "Meaning", "Why this default"], settingNames.map(row)),
  );
}

function row(name: SettingName): string[] {
  const { value, help, reason, default: fallback } = settingTable[name];
  const shown = showSetting(name, fallback as never);
  return [
    `${code(`--${settingFlag(name)}`)} ${name === settingFlag(name) ? "" : `(${code(name)})`}`.trim(),
    code(value),
    shown === "" ? "none" : code(shown),
    sentence(help),
    sentence(reason),
  ];
}
