// Writes the files that are made of conf/kubernetes: one file for kubectl, the same with
// agents that leave, and the chart's templates. A part is a manifest that can be
// applied as it is, with a chart's text in comments:
//
//   key: value #= TEXT   the chart has TEXT instead of the value
//   #= TEXT              only the chart has TEXT
//   #+ LINE              only in the file that uninstalls wg-cni
//
//   scripts/manifests          writes them
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { findOutdated, writeOutdated } from "./generated.ts";

const root = resolve(import.meta.dir, "..");

interface Part {
  /** The name of the file in conf/kubernetes. */
  readonly name: string;
  /** An optional part: the chart has it if this expression is true, and the one file does not have it. */
  readonly when?: string;
}

/** The parts in the order in which they are applied. */
const parts: readonly Part[] = [
  { name: "crd" },
  { name: "mesh" },
  { name: "rbac" },
  { name: "policy" },
  { name: "startup-taint", when: ".Values.startupTaint.enabled" },
  { name: "daemonset" },
];
const templates = "conf/chart/templates";

const heading = (what: string) => `# ${what}
#
# Made of conf/kubernetes by scripts/manifests: change it there.
`;
const all = heading("Everything that wg-cni needs in a cluster, for `kubectl apply -f`.");
const leaving = heading(
  "Applied in the place of the DaemonSet it takes wg-cni off the nodes; see docs/guides/uninstall.md.",
);

/** Returns the contents by path from the root. Throws Error if a part cannot be made a template. */
export function makeManifests(): ReadonlyMap<string, string> {
  const texts = parts.map((part) => [part, readFileSync(join(root, pathOf(part)), "utf8")] as const);
  const daemonSet = texts.find(([{ name }]) => name === "daemonset")?.[1] ?? "";
  return new Map([
    [
      "conf/wg-cni.yaml",
      [all, ...texts.flatMap(([{ when }, text]) => (when === undefined ? [plain(text, false)] : []))].join(
        "---\n",
      ),
    ],
    ["conf/wg-cni-uninstall.yaml", [leaving, plain(daemonSet, true)].join("---\n")],
    ...texts.map(([part, text]) => [`${templates}/${part.name}.yaml`, template(part, text)] as const),
  ]);
}

function pathOf({ name }: Part): string {
  return `conf/kubernetes/${name}.yaml`;
}

const chartOnly = /^(\s*)#= (.*)$/;
const uninstallOnly = /^(\s*)#\+ (.*)$/;
/** Matches the text before the value, the value, and the chart's text. */
const settable = /^(\s*(?:- )?(?:[\w./-]+: )?)(.*) #= (.*)$/;

/** Makes the file for kubectl. */
function plain(text: string, uninstalling: boolean): string {
  const lines: string[] = [];
  // Of lines that one of the two has and the other has not.
  let branch: "both" | "uninstall" | "install" = "both";
  for (const line of text.split("\n")) {
    const only = chartOnly.exec(line)?.[2];
    if (only === "{{- if .Values.uninstall }}") branch = "uninstall";
    else if (only === "{{- else }}" && branch === "uninstall") branch = "install";
    else if (only === "{{- end }}") branch = "both";
    if (only !== undefined || (branch === "install" && uninstalling)) continue;
    const added = uninstallOnly.exec(line);
    if (added !== null && !uninstalling) continue;
    lines.push((added === null ? line : `${added[1]}${added[2]}`).replace(settable, "$1$2"));
  }
  return lines.join("\n");
}

function template(part: Part, text: string): string {
  const lines = text.split("\n").map((line, i) => {
    const marked = line.replace(uninstallOnly, "$1$2");
    const made = chartOnly.test(marked)
      ? marked.replace(chartOnly, "$1$2")
      : marked.replace(settable, "$1$3");
    if (marked === line && made === line && line.includes("{{"))
      throw new Error(`${pathOf(part)}:${i + 1}: a chart would take "{{" for its own: write it otherwise`);
    return made;
  });
  const inner = lines.join("\n");
  const origin = `{{- /* Made of ${pathOf(part)} by scripts/manifests: change it there. */}}\n`;
  return origin + (part.when === undefined ? inner : `{{- if ${part.when} }}\n${inner}{{- end }}\n`);
}

/** Returns a line for each outdated file. */
export function checkManifests(): string[] {
  return findOutdated(makeManifests()).map(
    (path) => `${path} is not what conf/kubernetes says: run scripts/manifests`,
  );
}

if (import.meta.main) writeOutdated(makeManifests());
