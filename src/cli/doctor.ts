// `doctor` checks everything that may be wrong with a node, and prints the faults with their
// remedies. It changes nothing. The exit code is 3 if something is not as it should be, as with
// `status`.
import { type Examined, examine } from "../doctor/examine.ts";
import type { Level } from "../doctor/finding.ts";
import { gatherFacts } from "../doctor/gather.ts";
import { countOf } from "../net/human-format.ts";
import type { Context, Output } from "./command.ts";
import { observeAgent } from "./observe-agent.ts";
import { oneLine, type Style, wrapText } from "./style.ts";

const notAsItShouldBe = 3;
/** The width of the second column, which fits beside the first one in a terminal of a hundred columns. */
const proseColumns = 80;

export async function doctor({ stateDir, nowMs }: Context): Promise<Output> {
  const facts = gatherFacts(stateDir, nowMs, await observeAgent(stateDir));
  const findings = examine(facts);
  const node = facts.node?.identity?.name;
  const faults = findings.filter(({ level }) => level === "fail");
  return {
    json: {
      ...(node === undefined ? {} : { node }),
      healthy: faults.length === 0,
      findings: findings.map(({ name, level, summary, details = [], remedy, impact }) => ({
        ...{ check: name, level, summary, details },
        ...(remedy === undefined ? {} : { remedy }),
        impact,
      })),
    },
    text: (style) => render(node ?? "this node", findings, style),
    exitCode: faults.length === 0 ? 0 : notAsItShouldBe,
  };
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
