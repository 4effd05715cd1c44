// Samples to the lines of a table: medians, p90, ratios against the plugin that
// the budget names, and whether the budget is met. Pure but for colours.

import { bold, cyan, dim, red } from "../../scripts/stage/screen.ts";
import { type Contender, type Measured, quantile, type Verb } from "./samples.ts";
import { isOver, median, milliseconds, table, verdict } from "./table.ts";

interface Line {
  readonly verb: Verb;
  readonly contender: Contender;
  readonly label: string;
  readonly against?: { verb: Verb; contender: Contender };
  /** Times `against`, at most. */
  readonly budget?: number;
}

export interface Report {
  readonly lines: readonly string[];
  readonly missedBudgets: number;
}

const labels: Readonly<Record<Contender, string>> = {
  ptp: "ptp + host-local, IPv4",
  bridge: "bridge + host-local, IPv4",
  "wg-cni": "wg-cni standalone, dual-stack",
  tuning: "tuning, chained",
  "wg-cni chained": "wg-cni, chained",
};

const verbs: readonly Verb[] = ["ADD", "DEL", "CHECK"];
const lines: readonly Line[] = [
  ...verbs.flatMap((verb): Line[] => [
    { verb, contender: "ptp", label: labels.ptp },
    { verb, contender: "bridge", label: labels.bridge },
    { verb, contender: "wg-cni", label: labels["wg-cni"], against: { verb, contender: "ptp" }, budget: 1 },
    { verb, contender: "tuning", label: labels.tuning },
    {
      verb,
      contender: "wg-cni chained",
      label: labels["wg-cni chained"],
      against: { verb, contender: "tuning" },
      budget: verb === "ADD" ? 2 : 1,
    },
  ]),
  { verb: "VERSION", contender: "ptp", label: "ptp" },
  { verb: "VERSION", contender: "bridge", label: "bridge" },
  { verb: "VERSION", contender: "tuning", label: "tuning" },
  { verb: "VERSION", contender: "wg-cni", label: "wg-cni", against: { verb: "VERSION", contender: "ptp" } },
  {
    verb: "STATUS",
    contender: "wg-cni",
    label: "wg-cni (against VERSION of ptp)",
    against: { verb: "VERSION", contender: "ptp" },
    budget: 2,
  },
];

const aligns = ["left", "left", "right", "right", "right", "left"] as const;

export function report(measured: Measured): Report {
  const calls = callRows(measured);
  const bursts = burstRows(measured);
  const missedBudgets = [...calls, ...bursts].filter(isOver).length;
  const count = Math.max(0, ...Object.values(measured.samples).map((values) => values.length));
  return {
    missedBudgets,
    lines: [
      "",
      `${bold(cyan("One at a time"))}  ${dim(`${count} calls each, taking turns`)}`,
      "",
      ...table(["", "", "median", "p90", "ratio", ""], calls, aligns),
      "",
      `${bold(cyan("All at once"))}  ${dim("wall-clock time of the whole burst")}`,
      "",
      ...table(["", "", "median", "worst", "ratio", ""], bursts, aligns),
      "",
    ],
  };
}

function callRows({ samples }: Measured): string[][] {
  const of = (verb: Verb, contender: Contender) => samples[`${verb} ${contender}`];
  const rows: string[][] = [];
  let previous: Verb | undefined;
  for (const { verb, contender, label, against, budget } of lines) {
    const values = of(verb, contender);
    if (!values) continue;
    if (previous && previous !== verb) rows.push([]);
    const other = against && of(against.verb, against.contender);
    const ratio = other && quantile(values, 0.5) / quantile(other, 0.5);
    rows.push([
      previous === verb ? "" : bold(verb),
      label,
      milliseconds(quantile(values, 0.5)),
      milliseconds(quantile(values, 0.9)),
      ...verdict(ratio, budget),
    ]);
    previous = verb;
  }
  return rows;
}

function burstRows({ bursts }: Measured): string[][] {
  const rows: string[][] = [];
  const kinds = [...new Set(bursts.map(({ verb, count }) => `${count} ${verb}`))];
  for (const kind of kinds) {
    const ofKind = bursts.filter(({ verb, count }) => `${count} ${verb}` === kind);
    const walls = (contender: Contender) =>
      ofKind.filter((burst) => burst.contender === contender).map(({ wallMs }) => wallMs);
    if (rows.length > 0) rows.push([]);
    let first = true;
    for (const contender of new Set(ofKind.map((burst) => burst.contender))) {
      const ratio = contender === "wg-cni" ? median(walls(contender)) / median(walls("ptp")) : undefined;
      const failures = ofKind
        .filter((burst) => burst.contender === contender)
        .flatMap((burst) => burst.failures);
      const [ratioText, verdictText] = verdict(ratio, ratio === undefined ? undefined : 1);
      rows.push([
        first ? bold(kind) : "",
        labels[contender],
        milliseconds(median(walls(contender))),
        milliseconds(Math.max(...walls(contender))),
        ratioText as string,
        failures.length > 0 ? red(`${failures.length} failed: ${failures[0]}`) : (verdictText as string),
      ]);
      first = false;
    }
  }
  return rows;
}
