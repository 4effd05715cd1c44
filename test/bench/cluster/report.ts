// Figures of several agents among many nodes to the lines of their report, with the budgets. Pure but for colours.
import { bold, cyan, dim } from "../../../scripts/stage/screen.ts";
import type { Report } from "../report.ts";
import { quantile } from "../samples.ts";
import { bytes, isOver, judge, median, milliseconds, table } from "../table.ts";
import type { ClusterFigures, Load } from "./figures.ts";

/** At 1,000 nodes and 10 changes a second. */
const budgets = { medianMs: 50, p99Ms: 250 };
/** One request that a watch ends with may fall into the time of rest. */
const restRequests = 1;

type Row = readonly string[];

export function report(figures: ClusterFigures): Report {
  const { nodes, agents, rate, machineLoad, cores } = figures;
  const sections = [convergence(figures), load(figures)];
  const title = `${agents} agents among ${nodes.toLocaleString("en")} nodes, ${rate} changes a second`;
  return {
    missedBudgets: sections.flat().filter(isOver).length,
    lines: [
      "",
      bold(cyan(title)),
      "",
      ...table(["", "median", "p99", "slowest", ""], sections[0] as Row[], aligns),
      "",
      ...table(["", "requests", "bytes/s", "CPU of an agent", ""], sections[1] as Row[], aligns),
      "",
      dim(`  ${machineLoad.toFixed(1)} processes wanted the ${cores} cores of this machine, on average.`),
      "",
    ],
  };
}

const aligns = ["left", "right", "right", "right", "left"] as const;

function convergence({ policies, changes, join, leave, rotation }: ClusterFigures): Row[] {
  const { answeredMs, watchedMs, followedMs, programmedMs } = changes;
  const [middle, high] = [median(programmedMs), quantile(programmedMs, 0.99)];
  const only = (label: string, value: number) => [label, "", "", milliseconds(value), ""];
  return [
    times("a write with the admission policies", policies.answeredMs, ""),
    only("processor time of the API server for it", policies.cpuMs),
    times("the API server answers a change without them", answeredMs, ""),
    times("a client that only watches has it", watchedMs, ""),
    times("from there to the kernel of each node", followedMs, ""),
    times("a change is programmed", programmedMs, judge(middle, budgets.medianMs, `${budgets.medianMs} ms`)),
    ["", "", "", "", judge(high, budgets.p99Ms, `${budgets.p99Ms} ms at p99`)],
    times("routes of a node that left are gone", leave.removedMs, ""),
    only("last pair encrypted after a join", join.lastPairMs),
    only("both keys of a node exchanged", rotation.doneMs),
  ];
}

function times(label: string, values: readonly number[], judged: string): Row {
  const [middle, high] = [median(values), quantile(values, 0.99)];
  return [label, milliseconds(middle), milliseconds(high), milliseconds(Math.max(...values)), judged];
}

function load({ rest, changes, join, rotation, agents }: ClusterFigures): Row[] {
  const line = (label: string, one: Load, judged = "") => [
    label,
    String(requestsOf(one)),
    bytes(Math.round(one.bytes / one.seconds)),
    `${((one.cpuMs / agents / one.seconds / 1000) * 100).toFixed(1)} %`,
    judged,
  ];
  return [
    line("nothing changes", rest, judge(requestsOf(rest), restRequests * agents, `${restRequests} an agent`)),
    line("records change", changes),
    line("a node joins", join),
    line("keys are exchanged", rotation),
  ];
}

function requestsOf({ requests }: Load): number {
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}
