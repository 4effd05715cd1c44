// Measures the paths of pod traffic with ping and HTTP over both families, and prints each result at once.

import type { Namespaces } from "../../test/lab/namespaces.ts";
import type { Node } from "../../test/lab/node.ts";
import type { Pod } from "../../test/lab/pod.ts";
import { type HttpResult, http, type PingResult, ping } from "../../test/lab/traffic.ts";
import { type Cluster, secret } from "./cluster.ts";
import { type Column, dim, glyphs, green, print, red, row, spin, unspin } from "./screen.ts";

interface Path {
  readonly kind: string;
  readonly from: Namespaces & { readonly name: string };
  readonly to: Node | Pod;
}

/** The measurements of one act. */
export interface Outcome {
  readonly measured: number;
  readonly answered: number;
}

const families = [4, 6] as const;
const columns: readonly Column[] = [
  { width: 21 },
  { width: 14 },
  { width: 9, align: "right" },
  { width: 9, align: "right" },
  { width: 5, align: "right" },
  { width: 5, align: "right" },
];

/** Lists the paths: on the same node; between every ordered pair of nodes; from each host to a remote pod; from a pod to each remote host. */
export function pathsOf({ nodes }: Cluster): Path[] {
  const [first, second] = [(node: Node) => node.pods[0] as Pod, (node: Node) => node.pods[1] as Pod];
  const next = (node: Node) => nodes[(nodes.indexOf(node) + 1) % nodes.length] as Node;
  const others = (node: Node) => nodes.filter((other) => other !== node);
  return [
    ...nodes.map((node) => ({ kind: "pod to pod, same node", from: first(node), to: second(node) })),
    ...nodes.flatMap((node) =>
      others(node).map((other) => ({ kind: "pod to pod", from: first(node), to: second(other) })),
    ),
    ...nodes.map((node) => ({ kind: "host to remote pod", from: node, to: first(next(node)) })),
    ...nodes.map((node) => ({ kind: "pod to remote host", from: second(node), to: next(node) })),
  ];
}

/** Prints one line a path; a path that does not answer is red and says why below. */
export async function measurePaths(cluster: Cluster): Promise<Outcome> {
  print(dim(row(columns, ["", "", "ping IPv4", "IPv6", "HTTP", "IPv6"])));
  let measured = 0;
  let answered = 0;
  let kind = "";
  for (const path of pathsOf(cluster)) {
    const name = `${path.from.label} ${glyphs.arrow} ${path.to.label}`;
    spin(name);
    const [pings, pages] = await measure(path);
    unspin();
    const said = [...pings.map(pingCell), ...pages.map(httpCell)];
    print(row(columns, [path.kind === kind ? "" : path.kind, name, ...said]));
    for (const page of pages) if (!isRight(page)) print(red(row(columns, ["", page.text.slice(0, 100)])));
    kind = path.kind;
    measured += said.length;
    answered += pings.filter(isWhole).length + pages.filter(isRight).length;
  }
  print();
  return { measured, answered };
}

async function measure({ from, to }: Path): Promise<[PingResult[], HttpResult[]]> {
  const ips = families.map((family) => to.ip(family) as string);
  return Promise.all([
    Promise.all(ips.map((ip) => ping(from, ip))),
    Promise.all(ips.map((ip) => http(from, ip))),
  ]);
}

function isWhole({ sent, received }: PingResult): boolean {
  return received === sent;
}

function isRight({ ok, text }: HttpResult): boolean {
  return ok && text === secret;
}

function pingCell(result: PingResult): string {
  if (!isWhole(result)) return red(`${result.received} of ${result.sent}`);
  return `${(result.averageMs ?? 0).toFixed(2)} ms`;
}

function httpCell(result: HttpResult): string {
  return isRight(result) ? green(glyphs.yes) : red(glyphs.no);
}
