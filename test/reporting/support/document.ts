// Writes docs/operations/faults.md from what the last run of the tests of this directory has measured:
//
//   ./scripts/test reporting && bun test/reporting/support/document.ts
import { writeFileSync } from "node:fs";
import { repository } from "../../lab/paths.ts";
import { outcomeOf, type Sample } from "./judge.ts";
import { readRows } from "./rows.ts";
import type { Row } from "./run.ts";
import { type TableTitle, tables } from "./tables.ts";

const head = `# Faults, and what is said of them

Each row is a fault that the tests make on one of three nodes whose pods talk (\`./scripts/test reporting\`, half an
hour). After 1, 5 and 60 s a burst of packets and a capture between the nodes say what becomes of traffic, and
everything that a person or a controller can read is compared with it. Three values are those of 1, 5 and 60 s; one
stands for all. A row in which something untrue is said fails the test. A fault of another node, or of a firewall, is
expected to be known after 60 s. If pods are silent, the last value may be that of 200 s, when the session is over.
This page is written by \`bun test/reporting/support/document.ts\` from the last run; do not edit it.

- **Packets**: between the pods of the node and its peer. \`encrypted\`, \`plaintext\` or \`lost\`.
- **status**: the peer's state and path, and the exit code. **doctor**: the checks that warn or fail.
- **Metric**: \`wg_cni_peer_state\` of the peer. **readyz**: \`no answer\` if no agent runs.
- **Conditions**: \`NetworkEncrypted\` and \`Covered\` of the node's record; an agent that does not run, or cannot
  reach the API server, cannot write them: \`kubectl get nodes\` shows such a node.
- **Log**: warnings since the fault. **Mended by**: the agent, commands that \`doctor\` named, or the end of the
  fault itself (a rule or a firewall of another program).
- In the table of clocks, the clock of the agent and of the commands is stepped. The WireGuard processes keep the
  machine's, because a namespace cannot have a wall clock of its own.
`;

const columns: readonly [title: string, cell: (sample: Sample) => string][] = [
  ["Packets", ({ after }) => outcomeOf(after)],
  [
    "status",
    ({ reports: { status } }) =>
      `${status.peer === undefined ? "peer not shown" : `${status.peer.state}, ${status.peer.reach}`} (${status.exitCode})`,
  ],
  [
    "doctor",
    ({ reports: { doctor } }) =>
      doctor.findings
        .filter(({ check }) => check !== "wireguard")
        .map(({ check }) => check)
        .join(", ") || "nothing",
  ],
  ["Metric", ({ reports: { metric } }) => metric ?? "-"],
  [
    "readyz",
    ({ reports: { ready } }) => (ready === undefined ? "no answer" : ready === "ok" ? "ok" : "not ready"),
  ],
  [
    "Conditions",
    ({ reports: { conditions } }) =>
      [conditions["NetworkEncrypted"] ?? "-", conditions["Covered"] ?? "-"].join("; "),
  ],
];

function renderRow({ fault, kind, samples, mendedBy, untruths }: Row): string {
  const cells = columns.map(([, cell]) => {
    const values = samples.map(cell);
    return new Set(values).size === 1 ? (values[0] as string) : values.join("<br>");
  });
  const messages = samples.at(-1)?.reports.warnings.map(({ message }) => message) ?? [];
  const log = [...new Set(messages)].map((message) => shorten(message)).join("<br>") || "nothing";
  const isCommand = mendedBy !== "" && mendedBy !== "the agent";
  const mended = mendedBy === "" ? "its end" : isCommand ? `\`${mendedBy}\`` : mendedBy;
  const untrue = untruths.length === 0 ? "" : ` **untrue: ${untruths.join("; ")}**`;
  const all = [`${fault}${untrue}`, kind, ...cells, log, mended];
  return `| ${all.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
}

function shorten(message: string): string {
  return message.length > 90 ? `${message.slice(0, 89)}…` : message;
}

function renderTable(title: string, rows: readonly Row[]): string {
  const titles = ["Fault", "Of", ...columns.map(([name]) => name), "Log", "Mended by"];
  return [
    `## ${title[0]?.toUpperCase()}${title.slice(1)}`,
    "",
    `| ${titles.join(" | ")} |`,
    `|${titles.map(() => "---").join("|")}|`,
    ...rows.map(renderRow),
    "",
  ].join("\n");
}

const rendered = (Object.keys(tables) as TableTitle[]).map((title) => renderTable(title, readRows(title)));
writeFileSync(`${repository}/docs/operations/faults.md`, `${head}\n${rendered.join("\n")}`);
