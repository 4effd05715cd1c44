// Adds our UDP ports to net.ipv4.ip_local_reserved_ports, so that the kernel gives none of them to a
// socket that asks for any port. All programs share the list: our ports are added to the present list, and
// only ours are removed from the list as it is then. Pure.

export const reservedPortsSysctl = "net/ipv4/ip_local_reserved_ports";

/** "8080,51820-51821": ranges, in order. */
type Range = readonly [first: number, last: number];

/** Returns the list with the ports; it is unchanged if it has them. */
export function withPorts(list: string, ports: readonly number[]): string {
  const ranges = parse(list);
  const missing = ports.filter((port) => !holds(ranges, port));
  if (missing.length === 0) return list;
  return format([...ranges, ...missing.map((port): Range => [port, port])]);
}

/** Returns the list without the ports, except those that were in it `before` we added ours. */
export function withoutPorts(list: string, ports: readonly number[], before: string): string {
  const theirs = parse(before);
  const ours = ports.filter((port) => !holds(theirs, port));
  const ranges = parse(list);
  if (!ours.some((port) => holds(ranges, port))) return list;
  return format(ours.reduce<readonly Range[]>(cutOut, ranges));
}

function parse(list: string): Range[] {
  return [...list.matchAll(/(\d+)(?:-(\d+))?/g)].map(([, first, last = first]) => [
    Number(first),
    Number(last),
  ]);
}

function holds(ranges: readonly Range[], port: number): boolean {
  return ranges.some(([first, last]) => first <= port && port <= last);
}

function cutOut(ranges: readonly Range[], port: number): Range[] {
  return ranges.flatMap(([first, last]): Range[] => {
    if (port < first || port > last) return [[first, last]];
    const parts: Range[] = [
      [first, port - 1],
      [port + 1, last],
    ];
    return parts.filter(([from, to]) => from <= to);
  });
}

/** Formats ports as the kernel prints them: sorted, neighbours in one range. */
function format(ranges: readonly Range[]): string {
  const merged: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const open = merged.at(-1);
    if (open !== undefined && first <= open[1] + 1) open[1] = Math.max(open[1], last);
    else merged.push([first, last]);
  }
  return merged.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}
