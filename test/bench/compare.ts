// Samples to rows: medians, spread, ratios against the plugin that a budget names, and what became of
// the budget. Pure; report.ts, page.ts and plot.ts show the rows.
import { type Budget, budgets, burstBudgets, coldStartBudget, type Floor } from "./budgets.ts";
import { type Burst, type Contender, type Measured, quantile, type Samples, type Verb } from "./samples.ts";
import { milliseconds } from "./table.ts";

export interface Verdict {
  /** Above the budget is what stays within its limit. */
  readonly kind: "held" | "above" | "missed";
  /** The budget, as text. */
  readonly budget: string;
  readonly floor?: {
    /** A clause that says why the budget is not held, with what was measured. */
    readonly text: string;
    /** No call can have a lower value than this one, as it is printed; absent if that was not measured. */
    readonly value?: string;
  };
}

export interface Row {
  /** Equal for the rows that belong together: "ADD", "50 ADD". */
  readonly group: string;
  readonly contender: Contender;
  readonly label: string;
  readonly medianMs: number;
  /** The first and the last tenth of the samples lie outside. */
  readonly spreadMs: readonly [low: number, high: number];
  readonly ratio?: number;
  readonly verdict?: Verdict;
  /** The first failure of a burst, and their number. */
  readonly failures?: { readonly count: number; readonly first: string };
}

export interface Comparison {
  readonly calls: readonly Row[];
  readonly bursts: readonly Row[];
}

const labels: Readonly<Record<Contender, string>> = {
  ptp: "ptp + host-local, IPv4",
  "current ptp": "ptp + host-local 1.10, IPv4",
  bridge: "bridge + host-local, IPv4",
  "current bridge": "bridge + host-local 1.10, IPv4",
  "wg-cni": "wg-cni standalone, dual-stack",
  tuning: "tuning, chained",
  "current tuning": "tuning 1.10, chained",
  "wg-cni chained": "wg-cni, chained",
  "cilium-cni": "cilium-cni",
  "empty program": "an empty program of the same compiler",
};
/** Verbs that work on no pod. */
const startLabels: Readonly<Partial<Record<Contender, string>>> = {
  ptp: "ptp",
  "current ptp": "ptp 1.10",
  bridge: "bridge",
  "current bridge": "bridge 1.10",
  "wg-cni": "wg-cni",
  tuning: "tuning",
  "current tuning": "tuning 1.10",
};
const verbs: readonly Verb[] = ["ADD", "DEL", "CHECK", "VERSION", "STATUS", "cold start"];
const contenders = Object.keys(labels) as Contender[];

export function compare({ samples, bursts }: Measured): Comparison {
  const calls = verbs.flatMap((verb) =>
    contenders.flatMap((contender) => {
      const values = samples[`${verb} ${contender}`];
      if (values === undefined) return [];
      const row = { ...measure(values), group: verb, contender, label: labelOf(verb, contender) };
      if (verb === "cold start") return [contender === "wg-cni" ? judgeColdStart(row, samples) : row];
      const own = budgets.filter((budget) => budget.verb === verb && budget.contender === contender);
      const judged = own.flatMap((budget) => judge(row, budget, samples));
      return judged.length > 0 ? judged : [row];
    }),
  );
  return { calls, bursts: compareBursts(bursts) };
}

function labelOf(verb: Verb, contender: Contender): string {
  const isStart = verb === "VERSION" || verb === "STATUS" || verb === "cold start";
  return (isStart ? startLabels[contender] : undefined) ?? labels[contender];
}

function measure(values: readonly number[]): Pick<Row, "medianMs" | "spreadMs"> {
  return { medianMs: quantile(values, 0.5), spreadMs: [quantile(values, 0.1), quantile(values, 0.9)] };
}

/** Returns no row if the other was not measured. */
function judge(row: Row, { times, limit, floor, against }: Budget, samples: Samples): Row[] {
  const other = samples[`${against.verb} ${against.contender}`];
  if (other === undefined) return [];
  const otherMs = quantile(other, 0.5);
  const ratio = row.medianMs / otherMs;
  const isOfOther = against.verb !== row.group || !["ptp", "tuning"].includes(against.contender);
  const label = isOfOther ? `${row.label} (against ${against.contender}'s ${against.verb})` : row.label;
  const bounds = { times, limit, floor: floor && measureFloor(floor, samples, asTimes(otherMs)) };
  return [{ ...row, label, ratio, verdict: verdictOf(ratio, bounds) }];
}

const asTimes = (otherMs: number) => (ms: number) => (ms / otherMs).toFixed(2);

/** `print`: as the row's own value is printed. */
function measureFloor(
  { why, atLeast }: Floor,
  samples: Samples,
  print: (ms: number) => string,
): NonNullable<Verdict["floor"]> {
  const found = atLeast.flatMap(({ verb, contender }) => {
    const values = samples[`${verb} ${contender}`];
    return values === undefined ? [] : [{ verb, contender, medianMs: quantile(values, 0.5) }];
  });
  if (found.length === 0) return { text: why };
  const clauses = found.map(({ verb, contender, medianMs }) => {
    const name = contender === "empty program" ? labels[contender] : `${verb} of ${contender}`;
    return `${name} ${print(medianMs)}`;
  });
  const value = print(Math.max(...found.map(({ medianMs }) => medianMs)));
  return { text: `${why} (${clauses.join(", ")})`, value };
}

interface Bounds {
  readonly times: number;
  readonly limit: number;
  readonly floor?: Verdict["floor"] | undefined;
}

function verdictOf(ratio: number, { times, limit, floor }: Bounds): Verdict {
  // As it is printed, with two digits.
  const rounded = Math.round(ratio * 100) / 100;
  const kind = rounded <= times ? "held" : rounded > limit ? "missed" : "above";
  return { kind, budget: times.toFixed(1), ...(floor === undefined ? {} : { floor }) };
}

function judgeColdStart(row: Row, samples: Samples): Row {
  const { milliseconds: budgetMs, floor } = coldStartBudget;
  const kind = row.medianMs <= budgetMs ? "held" : "above";
  const verdict = { kind, budget: `${budgetMs} ms` } as const;
  return { ...row, verdict: { ...verdict, floor: measureFloor(floor, samples, milliseconds) } };
}

function compareBursts(bursts: readonly Burst[]): Row[] {
  const kinds = [...new Set(bursts.map(({ verb, count }) => `${count} ${verb}`))];
  return kinds.flatMap((group) => {
    const ofKind = bursts.filter(({ verb, count }) => `${count} ${verb}` === group);
    const walls = (contender: Contender) =>
      ofKind.filter((burst) => burst.contender === contender).map(({ wallMs }) => wallMs);
    return [...new Set(ofKind.map((burst) => burst.contender))].map((contender): Row => {
      const values = walls(contender);
      const failed = ofKind
        .filter((burst) => burst.contender === contender)
        .flatMap(({ failures }) => failures);
      const [first] = failed;
      const row = { ...measure(values), group, contender, label: labels[contender] };
      if (first !== undefined) return { ...row, failures: { count: failed.length, first } };
      if (contender !== "wg-cni") return row;
      const ratio = row.medianMs / quantile(walls("ptp"), 0.5);
      const { times, limit, floor } = burstBudgets[ofKind[0]?.verb ?? "ADD"];
      const bounds = { times, limit, floor: floor && measureFloor(floor, {}, milliseconds) };
      return { ...row, ratio, verdict: verdictOf(ratio, bounds) };
    });
  });
}
