// The kernel's counters of packets that it dropped in one network namespace: in devices, in protocols, in the
// buffers of sockets, in the connection table, by rules. Each namespace has its own, except those of the
// processors. Text in, numbers out, but for readDropCounters().
import { readFileSync } from "node:fs";

/** By name; those that stand for a packet that was dropped or could not be sent. */
export type DropCounters = ReadonlyMap<string, number>;

/** In snmp, snmp6 and netstat; the others count traffic. */
const dropNames =
  /Discard|NoRoute|Errors|Errs|Fails|Drop|NoPorts|Filter|TooBig|UnknownProto|Unreach|Truncated|ReasmTimeout|TimeExcd|RateLimit/;
const deviceColumns = [
  ...["", "", "rx errors", "rx dropped", "rx fifo", "rx frame", "", ""],
  ...["", "", "tx errors", "tx dropped", "tx fifo", "", "tx carrier", ""],
];
const connectionColumns = ["insert_failed", "drop", "early_drop"];

type Parser = (text: string) => Iterable<readonly [name: string, value: number]>;

const parsers: Readonly<Record<string, Parser>> = {
  snmp: pairsOfLines,
  netstat: pairsOfLines,
  snmp6: oneEachLine,
  dev: devices,
  udp: sockets("udp"),
  udp6: sockets("udp6"),
  "stat/nf_conntrack": connections,
  softnet_stat: processors,
};

/** `directory` is /proc/net, of any process in the namespace. A file that this kernel does not have counts nothing. */
export function readDropCounters(directory: string): DropCounters {
  return new Map(Object.keys(parsers).flatMap((file) => parseDropCounters(file, tryToRead(directory, file))));
}

/** The counters in the text of one of the files. */
export function parseDropCounters(file: string, text: string): (readonly [string, number])[] {
  return [...(parsers[file]?.(text) ?? [])];
}

/** The counters that are higher than before, as "Udp.NoPorts +2". */
export function movedCounters(before: DropCounters, after: DropCounters): string[] {
  return [...after].flatMap(([name, value]) => {
    const more = value - (before.get(name) ?? 0);
    return more > 0 ? [`${name} +${more}`] : [];
  });
}

/**
 * What `nft list ruleset` and `tc -s qdisc` have one after the other: rules that drop or reject and count,
 * named counters, the counters in sets that packets fill, and the queues of devices.
 */
export function parseListing(text: string): DropCounters {
  const counters = new Map<string, number>();
  let [table, block, dev, isDynamic] = ["", "", "", false];
  for (const line of text.split("\n")) {
    table = /^table (.*) \{/.exec(line)?.[1] ?? table;
    dev = /^qdisc .* dev (\S+)/.exec(line)?.[1] ?? dev;
    const opened = /^\t((?:chain|set|map|counter) \S+) \{/.exec(line)?.[1];
    if (opened !== undefined) [block, isDynamic] = [opened, false];
    isDynamic ||= /^\t\tflags .*dynamic/.test(line);
    const dropped = /\(dropped (\d+),/.exec(line)?.[1];
    if (dropped !== undefined) counters.set(`queue of ${dev} dropped`, Number(dropped));
    if (isDynamic)
      for (const [, element, packets] of line.matchAll(/(\S+) counter packets (\d+)/g))
        counters.set(`${table} ${block} ${element}`, Number(packets));
    else if (block.startsWith("counter") || /\b(drop|reject)\b/.test(line)) {
      const packets = /packets (\d+)/.exec(line)?.[1];
      const rule = line.trim().replace(/counter packets \d+ bytes \d+ ?/, "");
      const name = block.startsWith("counter") ? block : `${block}: ${rule}`;
      if (packets !== undefined) counters.set(`${table} ${name}`, Number(packets));
    }
  }
  return counters;
}

function tryToRead(directory: string, file: string): string {
  try {
    return readFileSync(`${directory}/${file}`, "utf8");
  } catch {
    return "";
  }
}

/** "Udp: NAME NAME", and below it "Udp: 1 2". */
function* pairsOfLines(text: string): ReturnType<Parser> {
  const lines = text.trim().split("\n");
  for (let at = 0; at + 1 < lines.length; at += 2) {
    const [names, values] = [lines[at], lines[at + 1]].map((line = "") => line.split(" "));
    const family = names?.[0]?.replace(":", "");
    for (const [index, name] of (names ?? []).entries())
      if (index > 0 && dropNames.test(name)) yield [`${family}.${name}`, Number(values?.[index])];
  }
}

function* oneEachLine(text: string): ReturnType<Parser> {
  for (const [, name = "", value] of text.matchAll(/^(\w+)\s+(\d+)$/gm))
    if (dropNames.test(name)) yield [name, Number(value)];
}

function* devices(text: string): ReturnType<Parser> {
  for (const [, dev, values = ""] of text.matchAll(/^\s*([^\s:|]+):(.*)$/gm))
    for (const [column, value] of values.trim().split(/\s+/).entries())
      if (deviceColumns[column]) yield [`${dev} ${deviceColumns[column]}`, Number(value)];
}

/** The last column is what found the buffer full. Sockets that share a port count together. */
function sockets(kind: string): Parser {
  return (text) => {
    const drops = new Map<string, number>();
    for (const line of text.trim().split("\n").slice(1)) {
      const words = line.trim().split(/\s+/);
      const name = `${kind} port ${Number.parseInt(words[1]?.split(":")[1] ?? "", 16)} drops`;
      drops.set(name, (drops.get(name) ?? 0) + Number(words.at(-1)));
    }
    return drops;
  };
}

/** A line of names, and one of hexadecimal numbers for each processor. */
function* connections(text: string): ReturnType<Parser> {
  const [names = [], ...rows] = text
    .trim()
    .split("\n")
    .map((line) => line.split(/\s+/));
  for (const name of connectionColumns.filter((column) => names.includes(column))) {
    const values = rows.map((row) => Number.parseInt(row[names.indexOf(name)] as string, 16));
    yield [`conntrack ${name}`, values.reduce((sum, value) => sum + value, 0)];
  }
}

/** The second column counts packets that found the queue of a processor full: the whole machine's. */
function* processors(text: string): ReturnType<Parser> {
  for (const [index, line] of text.trim().split("\n").entries())
    if (line !== "") yield [`processor ${index} backlog`, Number.parseInt(line.split(/\s+/)[1] ?? "0", 16)];
}
