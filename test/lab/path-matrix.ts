// The seven paths between two nodes that the mesh promises something about, all
// at once with real traffic: requests, which count when their answers are back.
//
//   pod  -> pod    1 -> 2 and 2 -> 1
//   host -> pod    1 -> 2 and 2 -> 1
//   pod  -> host   1 -> 2 and 2 -> 1
//   host -> host   1 -> 2

import type { Family } from "../../src/net/ip.ts";
import type { Pod } from "./pod.ts";
import { type Flow, type FlowResult, flow, type StreamOptions, Streams } from "./stream.ts";

export const paths = [
  "pod -> pod 1 -> 2",
  "pod -> pod 2 -> 1",
  "host -> pod 1 -> 2",
  "host -> pod 2 -> 1",
  "pod -> host 1 -> 2",
  "pod -> host 2 -> 1",
  "host -> host",
] as const;

export type Path = (typeof paths)[number];

export interface PathResult {
  readonly path: string;
  readonly sent: number;
  readonly received: number;
}

const modestRate = 50;
const probeRate = 100;
const probeMs = 200;

/** Between two pods and their nodes until it is stopped; 50 requests a second on each path unless told. */
export function pathStreams(
  one: Pod,
  two: Pod,
  family: Family,
  options: StreamOptions = {},
): Promise<Streams> {
  return Streams.start(pathFlows(one, two, family), { rate: modestRate, ...options });
}

/** About twenty requests on each path. A path may take a handshake first: wait for it if that matters. */
export async function probePaths(
  one: Pod,
  two: Pod,
  family: Family,
  options: StreamOptions = {},
): Promise<FlowResult[]> {
  const streams = await pathStreams(one, two, family, { rate: probeRate, mayLose: true, ...options });
  await Bun.sleep(probeMs);
  return streams.stop();
}

/** The paths that lost nothing. */
export function answering(results: readonly FlowResult[]): Path[] {
  return results.filter(({ sent, received }) => received === sent).map(({ name }) => name as Path);
}

/** Returns the rows for console.table(). */
export function table(results: readonly FlowResult[]): PathResult[] {
  return results.map(({ name, sent, received }) => ({ path: name, sent, received }));
}

function pathFlows(one: Pod, two: Pod, family: Family): Flow[] {
  const ends = [
    [one, two],
    [two, one],
    [one.node, two],
    [two.node, one],
    [one, two.node],
    [two, one.node],
    [one.node, two.node],
  ] as const;
  return ends.map(([from, to], at) => ({ ...flow(from, to, family), name: paths[at] as Path, echo: true }));
}
