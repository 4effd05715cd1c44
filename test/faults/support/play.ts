// Tries faults on the cases: each point is made ready, disturbed and converged, and then the host is as it was.
import type { Node } from "../../lab/node.ts";
import { makeRandom } from "../../plan/random.ts";
import type { Case } from "./cases.ts";
import { readHost } from "./host.ts";
import { counting, type Fault, injecting, readFaults } from "./strace.ts";

export interface Point extends Fault {
  readonly of: Case;
}

/** Every point of every case: runs each once without a fault, which must leave the host as it is. */
export async function listPoints(node: Node, cases: readonly Case[]): Promise<Point[]> {
  const points: Point[] = [];
  for (const one of cases) {
    // The first run makes what stays, such as locks and switched-on forwarding.
    for (const isFirst of [true, false]) {
      const before = readHost(node);
      await one.prepare();
      const done = await one.run(counting);
      const faults = readFaults(node);
      if (done.exitCode !== 0) throw new Error(`${one.name}: ${done.stderr}${done.stdout}`);
      await one.confirm?.(done);
      await one.converge();
      if (isFirst) continue;
      const change = difference(before, readHost(node));
      if (change.length > 0) throw new Error(`${one.name} without a fault changes ${change.join("\n")}`);
      points.push(...faults.map((fault) => ({ of: one, ...fault })));
    }
  }
  return points;
}

/** The name of a point, by which POINT runs it alone. */
export function nameOf({ of, syscall, nth, effect }: Point): string {
  return `${of.name}/${syscall}/${nth}/${effect}`;
}

/** Returns what is wrong after the fault, or undefined. The host before it is what a point before it has left. */
export async function play(node: Node, point: Point): Promise<string | undefined> {
  const { of } = point;
  await of.reset?.();
  const before = readHost(node);
  try {
    await of.prepare();
    const done = await of.run(injecting(point));
    // Whoever was told that it is done does not try again.
    if (done.exitCode === 0) await of.confirm?.(done);
  } catch (error) {
    await of.converge().catch(() => {});
    return String(error);
  }
  try {
    await of.converge();
    const change = difference(before, readHost(node)).filter((line) => !isLeft(point, line));
    return change.length === 0 ? undefined : change.join("\n");
  } catch (error) {
    return String(error);
  }
}

/** Some of the points in an order that the seed decides. */
export function sample(points: readonly Point[], count: number, seed: number): Point[] {
  const random = makeRandom(seed);
  const drawn = points.map((point) => ({ point, at: random() }));
  return drawn
    .sort((a, b) => a.at - b.at)
    .slice(0, count)
    .map(({ point }) => point);
}

/** Failures within a pod are warnings of its removal, which goes on; a kill leaves the record, and so the whole work. */
function isLeft({ effect }: Point, line: string): boolean {
  return effect !== "KILL" && /^[-+] n1\/chained: default via /.test(line);
}

function difference(before: readonly string[], after: readonly string[]): string[] {
  const lost = before.filter((line) => !after.includes(line)).map((line) => `- ${line}`);
  return [...lost, ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`)];
}
