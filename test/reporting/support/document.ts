// Writes docs/operations/faults.md from what the last run of the tests of this directory has measured:
//
//   ./scripts/test reporting && bun test/reporting/support/document.ts
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { repository } from "../../lab/paths.ts";
import { outcomeOf, type Sample } from "./judge.ts";
import type { Row } from "./run.ts";

const directory = `${repository}/.cache/reporting`;

const head = `# Faults, and what is said of them

Each row is a fault that the tests make on one of three nodes whose pods talk (\`./scripts/test reporting\`). After
1, 5 and 60 s a burst of packets and a capture between the nodes say what becomes of traffic, and everything that a
person or a controller can read is compared with it. Three values are those of 1, 5 and 60 s; one stands for all.
A row in which something untrue is said fails the test. This page is written by
\`bun test/reporting/support/document.ts\` from the last run; do not edit it.

- **Packets**: between the pods of the node and its peer. \`encrypted\`, \`plaintext\` or \`lost\`.
- **status**: the peer's state and path, and the exit code. **doctor**: the checks that warn or fail.
- **readyz**: \`no answer\` if no agent runs. **Conditions**: \`NetworkEncrypted\` of the node's record; an agent
  that does not run cannot write them.
- **Log**: warnings since the fault. **Mended by**: the agent, a command that \`doctor\` named, or the end of the
  fault itself (a rule or a firewall of another program).
`;

const columns: readonly [title: string, cell: (sample: Sample) => string][] = [
  ["Packets", ({ after }) => outcomeOf(after)],
  [
    "status",
    ({ reports: { status } }) =>
      `${status.peer?.state ?? "-"}, ${status.peer?.reach ?? "-"} (${status.exitCode})`,
  ],
  [
    "doctor",
    ({ reports: { doctor } }) =>
      doctor.findings
        .filter(({ check }) => check !== "wireguard")
        .map(({ check }) => check)
        .join(", ") || "nothing",
  ],
  [
    "readyz",
    ({ reports: { ready } }) => (ready === undefined ? "no answer" : ready === "ok" ? "ok" : "not ready"),
  ],
  ["Conditions", ({ reports: { conditions } }) => conditions["NetworkEncrypted"] ?? "-"],
];

function renderRow({ fault, samples, mendedBy, untruths }: Row): string {
  const cells = columns.map(([, cell]) => {
    const values = samples.map(cell);
    return new Set(values).size === 1 ? (values[0] as string) : values.join("<br>");
  });
  const messages = samples.at(-1)?.reports.warnings.map(({ message }) => message) ?? [];
  const log = [...new Set(messages)].map((message) => shorten(message)).join("<br>") || "nothing";
  const mended = mendedBy === "" ? "its end" : mendedBy.startsWith("wg-cni") ? `\`${mendedBy}\`` : mendedBy;
  const untrue = untruths.length === 0 ? "" : ` **untrue: ${untruths.join("; ")}**`;
  return `| ${[`${fault}${untrue}`, ...cells, log, mended].map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
}

function shorten(message: string): string {
  return message.length > 90 ? `${message.slice(0, 89)}…` : message;
}

export function renderDocument(tables: ReadonlyMap<string, readonly Row[]>): string {
  const titles = ["Fault", ...columns.map(([title]) => title), "Log", "Mended by"];
  const parts = [...tables].map(([title, rows]) =>
    [
      `## ${title[0]?.toUpperCase()}${title.slice(1)}`,
      "",
      `| ${titles.join(" | ")} |`,
      `|${titles.map(() => "---").join("|")}|`,
      ...rows.map(renderRow),
      "",
    ].join("\n"),
  );
  return `${head}\n${parts.join("\n")}`;
}

if (import.meta.main) {
  const files = readdirSync(directory).filter((file) => file.endsWith(".json"));
  const tables = new Map(
    files
      .sort()
      .map((file) => [
        file.replace(".json", "").replaceAll("-", " "),
        JSON.parse(readFileSync(`${directory}/${file}`, "utf8")) as Row[],
      ]),
  );
  writeFileSync(`${repository}/docs/operations/faults.md`, renderDocument(tables));
  console.log(`wrote docs/operations/faults.md: ${[...tables.values()].flat().length} faults`);
}
