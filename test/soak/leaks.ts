// What a soak run may leave behind, read from the kernel and from SQLite: what is there at rest, before
// the run and after it, must be the same.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { differences, nodeState } from "../../scripts/stage/found.ts";
import { memoryOf } from "../bench/scale/process.ts";
import type { Agent } from "../lab/agent.ts";
import type { Node } from "../lab/node.ts";
import { repository } from "../lab/paths.ts";

export interface Rest {
  /** Links, rules, routes, addresses, neighbours, namespaces, rows, files and processes, one line each. */
  readonly lines: readonly string[];
  /** The open descriptors of the agent and of its children, by kind: "socket", "pipe", a path. */
  readonly descriptors: Readonly<Record<string, number>>;
  readonly residentBytes: number;
}

/** A heap that has served many calls is larger than one that has served none, and grows no further. */
export const maxGrowthBytes = 48 * 1024 * 1024;

const lists = [
  "ip -o address | sed -E 's/^[0-9]+: //; s/ (valid|preferred)_lft [0-9a-z]+//g; /fe80:/d'",
  "ip neigh show nud permanent",
  "ls /run/netns /run/wireguard /run/wg-cni /var/lib/wg-cni 2>/dev/null | grep -vE '[-](wal|shm)$'",
];

export function readRest(node: Node, agent: Agent): Rest {
  const rows = node.must([
    process.execPath,
    `${repository}/test/kernel/support/rows.ts`,
    `${node.stateDir}/state.db`,
  ]);
  const listed = lists.flatMap((list) => node.must(["sh", "-c", list]).split("\n"));
  // A rotation may end with the other slot in use, and the stream gives the devices longer queues.
  const lines = [...nodeState(node), ...listed, ...rulesOf(node), ...rowsOf(rows), ...processesOf(node)];
  return {
    lines: lines
      .map((line) =>
        line
          .trim()
          .replaceAll(/wg-cni-[ab]/g, "wg-cni-x")
          .replace(/ qlen \d+/, ""),
      )
      .filter((line) => line !== ""),
    descriptors: descriptorsOf([agent.pid, ...agent.children()]),
    residentBytes: memoryOf(agent.pid).resident,
  };
}

/** A file is opened when it is first needed, and then stays open. */
function allowed(kind: string, was: number): number {
  return kind.startsWith("/") ? Math.max(was, 1) : was;
}

/** Describes what is there after the run and was not before, or the reverse. */
export function findLeaks(name: string, before: Rest, after: Rest): string[] {
  const more = Object.entries(after.descriptors).flatMap(([kind, count]) => {
    const was = before.descriptors[kind] ?? 0;
    return count > allowed(kind, was)
      ? [`${name}: the agent has ${count} descriptors of ${kind}, and had ${was}`]
      : [];
  });
  const growth = after.residentBytes - before.residentBytes;
  const grown = `${name}: the agent has ${megabytes(after.residentBytes)} of memory, and had ${megabytes(before.residentBytes)}`;
  return [
    ...differences(before.lines, after.lines).map((line) => `${name}: ${line}`),
    ...more,
    ...(growth > maxGrowthBytes ? [grown] : []),
  ];
}

export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MB`;
}

function rowsOf(text: string): string[] {
  const tables = JSON.parse(text) as Record<string, readonly object[]>;
  return Object.entries(tables).flatMap(([table, rows]) =>
    rows.map((row) => `${table} ${JSON.stringify(row)}`),
  );
}

/** The rules and sets of nftables. What packets fill, and for how long, depends on the packets. */
function rulesOf(node: Node): string[] {
  const text = node.must(["nft", "--stateless", "list", "ruleset"]);
  const blocks = text.split(/^(?=\t\w+ \S+ \{)/m).filter((block) => !/^\t\tflags .*dynamic/m.test(block));
  return blocks.flatMap((block) => block.split("\n"));
}

/** The names of the processes in the node's network namespace; a name once for each. */
function processesOf(node: Node): string[] {
  const netns = readlinkSync(node.netns);
  const counts = new Map<string, number>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name)))
    try {
      if (readlinkSync(`/proc/${pid}/ns/net`) !== netns) continue;
      const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
      counts.set(name, (counts.get(name) ?? 0) + 1);
    } catch {
      // It has ended meanwhile.
    }
  return [...counts].map(([name, count]) => `process ${name}: ${count}`);
}

function descriptorsOf(pids: readonly number[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const pid of pids)
    for (const fd of readdirSync(`/proc/${pid}/fd`))
      try {
        const kind = readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/:?\[?\d+\]?$/, "");
        counts[kind] = (counts[kind] ?? 0) + 1;
      } catch {
        // Closed meanwhile.
      }
  return counts;
}
