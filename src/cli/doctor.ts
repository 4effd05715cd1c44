// `doctor` checks everything that may be wrong with a node, and prints the faults with their
// remedies. It changes nothing without --repair, which rebuilds a damaged store first. The exit code is 3 if something
// is not as it should be, as with `status`.
import { type Examined, examine } from "../doctor/examine.ts";
import { type Level, shorten } from "../doctor/finding.ts";
import { gatherFacts } from "../doctor/gather.ts";
import { exists } from "../linux/file.ts";
import { countOf } from "../net/human-format.ts";
import { identityCopyName } from "../state/identity.ts";
import { repairState, type Salvage } from "../state/salvage.ts";
import { type Context, type Output, UsageError } from "./command.ts";
import { observeAgent } from "./observe-agent.ts";
import { isAgentThere } from "./session.ts";
import { oneLine, type Style, wrapText } from "./style.ts";

const notAsItShouldBe = 3;
/** The width of the second column, which fits beside the first one in a terminal of a hundred columns. */
const proseColumns = 80;

export async function doctor({ given, stateDir, nowMs }: Context): Promise<Output> {
  const repair = given.switches.has("repair") ? repairStore(stateDir) : undefined;
  const facts = gatherFacts(stateDir, nowMs, await observeAgent(stateDir));
  const findings = examine(facts);
  const node = facts.node?.identity?.name;
  const faults = findings.filter(({ level }) => level === "fail");
  return {
    json: {
      ...(repair === undefined ? {} : { repair }),
      ...(node === undefined ? {} : { node }),
      healthy: faults.length === 0,
      findings: findings.map(({ name, level, summary, details = [], remedy, impact }) => ({
        ...{ check: name, level, summary, details },
        ...(remedy === undefined ? {} : { remedy }),
        impact,
      })),
    },
    text: (style) =>
      (repair === undefined ? "" : renderRepair(repair)) + render(node ?? "this node", findings, style),
    exitCode: faults.length === 0 ? 0 : notAsItShouldBe,
  };
}

/** An agent goes on with the file that it has open, so that it would write what it knows into the damaged one. */
function repairStore(stateDir: string): Salvage {
  // The identity is in either file.
  if (!["state.db", identityCopyName].some((name) => exists(`${stateDir}/${name}`)))
    throw new UsageError(`there is no state.db in ${stateDir} to repair`);
  if (isAgentThere(stateDir))
    throw new UsageError("an agent runs and would go on with the damaged store: stop it, and repair then");
  return repairState(stateDir);
}

function renderRepair({ identityRestored, databaseAbsent, rebuilt }: Salvage): string {
  if (databaseAbsent)
    return [
      `There was no state.db, and now there is a new one${identityRestored ? " with the node's identity, from its other copy" : ""}.`,
      `  lost: ${identityRestored ? "" : "the node's identity, "}settings, peers and the records of pods`,
      "Run `wg-cni up` with the settings, and import the peers, before an agent or `wg-cni sync` runs: these remove from the kernel what the store does not have.",
      "",
      "",
    ].join("\n");
  if (rebuilt === undefined)
    return identityRestored
      ? "The node's identity was written anew, from its other copy.\n\n"
      : "The store is sound: nothing was repaired.\n\n";
  const { aside, kept, lost } = rebuilt;
  const counts = Object.entries(kept).map(([table, count]) => `${count} ${table}`);
  return [
    `The store was rebuilt; the damaged one is ${aside}.`,
    `  kept: ${counts.length === 0 ? "nothing" : counts.join(", ")}`,
    ...shorten(lost.map(oneLine)).map((loss) => `  lost: ${loss}`),
    "Peers that were lost come again from their source, or have to be imported again. Pods whose record was lost keep their addresses until they end.",
    "",
    "",
  ].join("\n");
}

function render(node: string, findings: readonly Examined[], style: Style): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const of = (level: Level) => findings.filter((finding) => finding.level === level);
  const [faults, warnings, passed] = [of("fail"), of("warn"), of("ok")];
  const wrong = [...faults, ...warnings].map((finding) => renderWrong(finding, width, style));
  const right = passed.map(
    ({ name, summary }) => `${sign("ok", style)} ${name.padEnd(width)}  ${style.dim(oneLine(summary))}`,
  );
  const summary = [
    ...(faults.length === 0 ? [] : [style.red(countOf(faults.length, "fault"))]),
    ...(warnings.length === 0 ? [] : [style.yellow(countOf(warnings.length, "warning"))]),
    `${countOf(passed.length, "check")} passed`,
  ];
  const parts = [`${style.bold(node)}: ${summary.join(", ")}`, ...wrong, right.join("\n")];
  return parts
    .filter((part) => part !== "")
    .join("\n\n")
    .concat("\n");
}

/** Prints the name in the first column, and the rest of the finding in the second. */
function renderWrong(finding: Examined, width: number, style: Style): string {
  const { name, level, summary, details = [], remedy, impact } = finding;
  const lines = [
    ...wrapText(summary, proseColumns).map(style.bold),
    ...details.map((line) => `  ${oneLine(line)}`),
    ...wrapText(impact, proseColumns).map(style.dim),
    ...(remedy === undefined ? [] : wrapText(`→ ${remedy}`, proseColumns)),
  ];
  return `${sign(level, style)} ${name.padEnd(width)}  ${lines.join(`\n${" ".repeat(width + 4)}`)}`;
}

function sign(level: Level, style: Style): string {
  if (level === "ok") return style.green("✓");
  return level === "warn" ? style.yellow("!") : style.red("✗");
}
