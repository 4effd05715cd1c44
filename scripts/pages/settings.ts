// docs/reference/settings.md: each setting of a node with its flag, default and meaning.
import { settingFlag } from "../../src/cli/setting-flags.ts";
import { type SettingName, settingNames, showSetting } from "../../src/plan/settings/settings.ts";
import { settingTable } from "../../src/plan/settings/table.ts";
import { code, page, sentence, table } from "./markdown.ts";

/** Facts that are too long for a row. */
const notes: readonly string[] = [
  "## Values that another program holds",
  `\`wg-cni up\` checks for conflicts before it uses a device name, UDP port, firewall mark, rule priority or routing table.
If another program holds it, \`up\` changes nothing and names the flag that chooses another value. Why the
mark has these two bits is in [a decision](../design/decisions/firewall-mark.md).`,
  "## Networks of pods and nodes",
  `\`--cluster-cidrs\` must hold pods alone: no node, gateway or control plane. A network that comes to hold a
host is left out until it holds none. The networks bind what pods send, not what the node's own processes
send. Without them, a pod CIDR that a peer announces counts only outside of public address space, or in the
\`/16\` (IPv6: \`/48\`) of one of this node's own pod CIDRs.`,
  `Without \`--node-cidrs\`, a peer's node IP counts once a handshake came from it. Behind an address
translation no handshake does; name such an address alone (\`/32\`, \`/128\`). The reasons are in
[a decision](../design/decisions/claims-inside-networks.md).`,
  "## Sizes of packets",
  `The tunnel takes 60 bytes of a packet over IPv4 and 80 over IPv6. \`wg-cni status\` names the peer and the
interface that the derived MTU comes from.`,
  "## WireGuard implementation",
  `\`--backend auto\` uses the kernel's WireGuard if there is one, else \`wireguard-go\` or \`boringtun\` from the
PATH. \`--napi-threading off\` is written to the kernel too, since the default of some kernels is on.`,
];

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
    ...notes,
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
