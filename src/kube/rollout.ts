// Describes a rollout: the mode of the mesh, which nodes are in it, and what is missing
// for the next step. The API server enforces the same as far as a policy can see it
// (conf/kubernetes/mesh.yaml). Only a client that lists nodes and records can see that a
// node has no record. Pure.
//
//   off ──► permissive ──► strict     up only if every node is covered
//   off ◄── permissive ◄── strict     down at any time

import { compareText } from "../net/human-format.ts";
import { scalarText } from "../net/scalar-text.ts";
import type { Mode } from "../plan/settings/settings.ts";

export const modes: readonly Mode[] = ["off", "permissive", "strict"];

export interface RolloutFacts {
  /** Mode of the mesh; absent if there is no mesh object. */
  readonly mode?: Mode;
  /** Names of the Nodes that should have an agent. */
  readonly nodes: readonly string[];
  /** Names of the cluster's other Nodes: Windows and virtual ones. */
  readonly others: readonly string[];
  /** WireGuardNode objects as the API has them. */
  readonly records: readonly unknown[];
}

export interface Missing {
  readonly node: string;
  readonly reason: string;
}

export interface Rollout {
  readonly mode?: Mode;
  /** The next step; without a mesh object the first one. Absent in strict mode. */
  readonly next?: Mode;
  readonly nodes: number;
  /** Nodes that report the mode. */
  readonly inMode: number;
  /** Number of nodes for which the next step would lose nothing. */
  readonly covered: number;
  /** Reasons against the next step, by node. */
  readonly missing: readonly Missing[];
  /** Nodes that should have no agent and have none. */
  readonly leftOut: readonly string[];
}

export function describeRollout({ mode, nodes, others, records }: RolloutFacts): Rollout {
  const reports = new Map(records.map(readReport).map((report) => [report.name, report]));
  // A node with a record has an agent, and the API server judges by records alone.
  const asked = [...nodes, ...others.filter((node) => reports.has(node))];
  // A record whose Node is gone is about to be collected.
  const judged = asked.map((node) => ({ node, report: reports.get(node) }));
  const inMode = judged.filter(({ report }) => mode !== undefined && report?.mode === mode);
  const missing = judged.flatMap(({ node, report }) => {
    const reason = findReason(report, mode);
    return reason === undefined ? [] : [{ node, reason }];
  });
  const next = mode === undefined ? firstStep(reports.values()) : modes[modes.indexOf(mode) + 1];
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(next === undefined ? {} : { next }),
    ...{ nodes: asked.length, inMode: inMode.length, covered: asked.length - missing.length },
    missing: missing.sort((a, b) => compareText(a.node, b.node)),
    leftOut: others.filter((node) => !reports.has(node)).sort(compareText),
  };
}

/** The mode that changes nothing on any node: the least that one has of its own, and not strict. */
function firstStep(reports: Iterable<Report>): Mode {
  return [...reports].some(({ mode }) => mode === "off") ? "off" : "permissive";
}

/** True if `to` is stricter than the present mode. */
export function isUp(from: Mode | undefined, to: Mode): boolean {
  return from !== undefined && modes.indexOf(to) > modes.indexOf(from);
}

interface Report {
  readonly name: string;
  readonly mode?: string;
  readonly covered?: { readonly status: string; readonly message: string };
}

/** The first row that applies names what keeps a node from being covered in a mode. */
const gaps: readonly {
  readonly when: (report: Report | undefined, mode: Mode | undefined) => boolean;
  readonly reason: (report: Report | undefined, mode: Mode | undefined) => string;
}[] = [
  {
    when: (report) => report === undefined,
    reason: () => "has no record: its agent does not run, or cannot write one (see its log)",
  },
  {
    when: (report) => report?.mode === undefined,
    reason: () => "has not reported yet, which takes its agent half a minute",
  },
  {
    when: (report, mode) => mode !== undefined && report?.mode !== mode,
    reason: (report, mode) => `reports ${report?.mode}, and not ${mode} yet`,
  },
  {
    when: (report) => report?.covered === undefined,
    reason: () => "does not report its coverage: its agent is of an older version",
  },
  {
    when: (report) => report?.covered?.status !== "True",
    reason: (report) => report?.covered?.message ?? "",
  },
];

function findReason(report: Report | undefined, mode: Mode | undefined): string | undefined {
  return gaps.find(({ when }) => when(report, mode))?.reason(report, mode);
}

function readReport(json: unknown): Report {
  const { metadata, status } = (json ?? {}) as Record<string, Record<string, unknown> | undefined>;
  const { mode, conditions } = status ?? {};
  const covered = (Array.isArray(conditions) ? conditions : []).find(
    (one: { readonly type?: unknown }) => one?.type === "Covered",
  );
  return {
    name: scalarText(metadata?.["name"]),
    ...(typeof mode === "string" ? { mode } : {}),
    ...(covered === undefined ? {} : { covered }),
  };
}
