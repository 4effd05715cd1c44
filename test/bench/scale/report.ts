// Figures of an agent among thousands of nodes to the lines of its report, with
// the budgets, and what as many agents as nodes ask of the API server: arithmetic
// on what one was seen to do. Pure but for colours.

import { bold, cyan, dim } from "../../../scripts/stage/screen.ts";
import { statusSpacingMs } from "../../../src/kube/status-report.ts";
import { usualTiming } from "../../../src/kubeclient/reflector.ts";
import type { Report } from "../report.ts";
import { quantile } from "../samples.ts";
import { bytes, isOver, judge, median, milliseconds, table, verdict } from "../table.ts";
import type { AddTimes, ChangeCost, Figures, Memory, PassCost, Requests } from "./figures.ts";

const memoryBudget = 150 * 1024 ** 2;
const noopBudgetMs = 50;
const changeBudgetMs = 20;
const addBudgetMs = 50;

type Row = readonly string[];

interface Section {
  readonly title: string;
  readonly about: string;
  readonly head: Row;
  readonly rows: readonly Row[];
}

export function report(figures: Figures): Report {
  const { load, cores } = figures;
  const sections = [memory(figures), requests(figures), passes(figures), adds(figures), firstSync(figures)];
  return {
    missedBudgets: sections.flatMap(({ rows }) => rows).filter(isOver).length,
    lines: [
      ...sections.flatMap(({ title, about, head, rows }) => [
        "",
        `${bold(cyan(title))}  ${dim(about)}`,
        "",
        ...table(head, rows, ["left", ...head.slice(1, -1).map(() => "right" as const), "left"]),
      ]),
      "",
      dim(`  ${load.toFixed(1)} processes wanted the ${cores} cores of this machine, on average.`),
      "",
    ],
  };
}

function memory({ memory: { imported, api, joined }, start, peers }: Figures): Section {
  const line = (label: string, { resident, proportional, peak }: Memory) => [
    ...[label, bytes(resident), bytes(proportional), bold(bytes(peak))],
    judge(peak, memoryBudget, "150 MB"),
  ];
  return {
    title: "Memory of the agent",
    about: `${peers.toLocaleString("en")} peers`,
    head: ["", "resident", "proportional", "peak", ""],
    rows: [
      line("without the API", imported),
      line("with the API", api),
      line(`joins; ${(start.joinedMs / 1000).toFixed(1)} s until all are programmed`, joined),
    ],
  };
}

function requests({ start, rest, relist, peers, change }: Figures): Section {
  const { watches, statuses } = askedOfServer(peers);
  const perChange = median(change.map((one) => one.bytes));
  const sent = perChange * peers * statuses;
  const asked = total(rest.requests);
  const askedAtChange = median(change.map((one) => total(one.requests)));
  return {
    title: "What the API server is asked",
    about: `and by ${peers.toLocaleString("en")} agents at rest: watches end after 30 to 60 min`,
    head: ["", "bytes", ""],
    rows: [
      ["a node joins", bytes(start.bytes), list(start.requests)],
      [`nothing changes for ${rest.seconds} s`, bytes(rest.bytes), judge(asked, 0, "0 requests")],
      ["one record changes", bytes(perChange), judge(askedAtChange, 0, "0 requests")],
      ["everything is listed again", bytes(relist.bytes), list(relist.requests)],
      ["all agents, watches", "", `${watches.toFixed(1)} requests/s`],
      ["all agents, status", "", `${statuses.toFixed(1)} writes/s at most, sent to all: ${bytes(sent)}/s`],
    ],
  };
}

/** Of as many agents as nodes at rest, a second. */
export function askedOfServer(peers: number): { readonly watches: number; readonly statuses: number } {
  const watched = 3;
  const meanSeconds = (usualTiming.watchMs * 1.5) / 1000;
  return { watches: (peers * watched) / meanSeconds, statuses: peers / (statusSpacingMs(peers) / 1000) };
}

function passes({ noop, change, relist, rest }: Figures): Section {
  const line = (label: string, costs: readonly PassCost[], judged: string) => [
    label,
    milliseconds(middle(costs, "syncMs")),
    milliseconds(quantile(of(costs, "syncMs"), 0.9)),
    milliseconds(middle(costs, "cpuMs")),
    judged,
  ];
  const noopMs = middle(noop, "syncMs");
  const more = middle(change, "syncMs") - noopMs;
  const times = change.map(({ programmedMs }) => programmedMs);
  return {
    title: "Comparing and programming",
    about: `${noop.length} of each, taking turns`,
    head: ["", "median", "p90", "CPU of the agent", ""],
    rows: [
      line("nothing to do", noop, judge(noopMs, noopBudgetMs, "50 ms")),
      ["", "", "", "", judge(Math.max(...of(noop, "writes")), 0, "0 writes")],
      line("one record changed", change, written(change)),
      ["what the change adds", milliseconds(more), "", "", judge(more, changeBudgetMs, "20 ms")],
      ["from API to kernel", milliseconds(median(times)), milliseconds(quantile(times, 0.9)), "", ""],
      [
        "listed again, unchanged",
        milliseconds(relist.ms),
        "",
        "",
        judge(relist.rows + relist.writes, 0, "0 writes"),
      ],
      [
        `a minute of rest`,
        "",
        "",
        milliseconds((rest.cpuMs / rest.seconds) * 60),
        judge(rest.writes, 0, "0 writes"),
      ],
    ],
  };
}

function adds({ adds: { during, afterwards } }: Figures): Section {
  const line = (label: string, times: readonly number[], ...judged: string[]) => [
    ...[label, milliseconds(median(times)), milliseconds(quantile(times, 0.99)), ...judged],
  ];
  const pair = (when: string, { ours, ptp }: AddTimes, judged: string) => [
    line(when, ours, verdict(median(ours) / median(ptp), undefined)[0] ?? "", judged),
    line(`${when}, ptp with IPv4`, ptp, "", ""),
  ];
  return {
    title: "ADDs one after the other",
    about: `by the plugin server, once it has started; ${during.ours.length} beside the first sync`,
    head: ["", "median", "p99", "ratio", ""],
    rows: [
      ...pair("beside the first sync", during, judge(quantile(during.ours, 0.99), addBudgetMs, "50 ms")),
      ...pair("afterwards", afterwards, ""),
    ],
  };
}

function firstSync({ firstSync: { ours, commands, firewall }, peers }: Figures): Section {
  const both = median(ours) / median(commands);
  return {
    title: "First sync",
    about: `${ours.length} each, taking turns; ${peers.toLocaleString("en")} peers on two userspace devices`,
    head: ["", "median", "ratio", ""],
    rows: [
      ["wg setconf and ip -batch", milliseconds(median(commands)), "", ""],
      ["nft -f of the same", milliseconds(median(firewall)), "", ""],
      ["wg-cni sync, with all three", milliseconds(median(ours)), ...verdict(both, 1)],
    ],
  };
}

function written(change: readonly ChangeCost[]): string {
  const rows = Math.max(...change.map((one) => one.rows));
  return `${Math.max(...of(change, "writes"))} writes to the kernel, ${rows} to the store`;
}

function list(requests: Requests): string {
  const kinds = Object.entries(requests).sort(([a], [b]) => (a < b ? -1 : 1));
  return kinds.map(([what, count]) => `${count} ${what}`).join(", ");
}

function total(requests: Requests): number {
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}

function of(costs: readonly PassCost[], field: keyof PassCost): number[] {
  return costs.map((cost) => cost[field]);
}

function middle(costs: readonly PassCost[], field: keyof PassCost): number {
  return median(of(costs, field));
}
