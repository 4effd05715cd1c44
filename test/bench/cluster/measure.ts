// Measures real agents at work among many nodes: one joins, records change at a rate, one leaves, keys are exchanged.
import { KubeClient } from "../../cluster/support/kube-client.ts";
import { recordPath } from "../../cluster/support/nodes.ts";
import { paperRecord, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { Cluster } from "../scale/cluster.ts";
import { cpuMsOf } from "../scale/process.ts";
import type { ClusterFigures, Load } from "./figures.ts";
import { PlainWatch } from "./plain-watch.ts";
import type { TunnelRoutes } from "./routes.ts";

const rotationMs = 240_000;

/** A node with its agent. */
export interface Member {
  readonly node: Node;
  readonly agent: Agent;
  readonly routes: TunnelRoutes;
}

/** Measures the work of the API server and the agents during a deed. */
export async function during<T>(
  cluster: Cluster,
  members: readonly Member[],
  deed: () => Promise<T>,
): Promise<Load & { readonly result: T }> {
  const cpuMs = () => members.reduce((sum, { agent }) => sum + cpuMsOf(agent.pid), 0);
  const [{ asked, bytes }, startMs, startCpuMs] = [cluster, performance.now(), cpuMs()];
  const result = await deed();
  return {
    result,
    seconds: (performance.now() - startMs) / 1000,
    ...{ requests: cluster.requests(asked), bytes: cluster.bytes - bytes, cpuMs: cpuMs() - startCpuMs },
  };
}

/** Nodes on paper get other pods, `rate` of them a second, as their agents would publish it. */
export async function measureChanges(
  cluster: Cluster,
  members: readonly Member[],
  { nodes, rate, seconds }: { readonly nodes: number; readonly rate: number; readonly seconds: number },
): Promise<ClusterFigures["changes"]> {
  // As agents do, which keep their connection.
  const { url, credentials } = cluster.server.admin;
  const client = new KubeClient(url, credentials, true);
  using watch = await PlainWatch.start(client);
  const change = async (i: number): Promise<FollowedChange> => {
    const cidr = `10.${200 + (i >> 8)}.${i & 255}.0/24`;
    const path = `${recordPath(paperRecord((i % nodes) + 1).name)}?fieldManager=wg-cni`;
    const startMs = performance.now();
    await client.patch(path, { spec: { podCIDRs: [cidr] } });
    const answeredMs = performance.now() - startMs;
    const watched = () => watch.cameAt(cidr);
    const watchedAtMs = (await waitUntil(watched, { what: `an event with ${cidr}` })) as number;
    const came = await Promise.all(members.map(({ routes }) => routes.came(cidr)));
    return { startMs, answeredMs, watchedAtMs, came };
  };
  const { result, ...load } = await during(cluster, members, async () => {
    const startMs = performance.now();
    const changes: Promise<FollowedChange>[] = [];
    for (let i = 0; i < rate * seconds; i++) {
      await Bun.sleep(Math.max(0, startMs + (i * 1000) / rate - performance.now()));
      changes.push(change(i));
    }
    return Promise.all(changes);
  });
  return {
    ...load,
    answeredMs: result.map(({ answeredMs }) => answeredMs),
    watchedMs: result.map(({ startMs, watchedAtMs }) => watchedAtMs - startMs),
    followedMs: result.flatMap(({ watchedAtMs, came }) => came.map((atMs) => atMs - watchedAtMs)),
    programmedMs: result.flatMap(({ startMs, came }) => came.map((atMs) => atMs - startMs)),
  };
}

/** One change; the times are those of performance.now(), `answeredMs` is a duration. */
interface FollowedChange {
  readonly startMs: number;
  readonly answeredMs: number;
  readonly watchedAtMs: number;
  /** One for each agent. */
  readonly came: readonly number[];
}

/** `join` starts the agent of another node. */
export async function measureJoin(
  cluster: Cluster,
  members: readonly Member[],
  join: () => Promise<Member>,
): Promise<ClusterFigures["join"] & { readonly joined: Member }> {
  const podsOf = ({ node }: Member) => node.podCidrs[0] as string;
  const { result, ...load } = await during(cluster, members, async () => {
    const startMs = performance.now();
    const joined = await join();
    const came = members.flatMap((member) => [
      member.routes.came(podsOf(joined)),
      joined.routes.came(podsOf(member)),
    ]);
    return { joined, lastPairMs: Math.max(...(await Promise.all(came))) - startMs };
  });
  return { ...load, ...result };
}

/** The record of a node on paper is deleted. */
export async function measureLeave(
  cluster: Cluster,
  members: readonly Member[],
  index: number,
): Promise<ClusterFigures["leave"]> {
  const { admin } = cluster.server;
  const path = recordPath(paperRecord(index).name);
  const [cidr] = (await admin.get(path))["spec"].podCIDRs as string[];
  const startMs = performance.now();
  await admin.remove(path);
  const gone = await Promise.all(members.map(({ routes }) => routes.gone(cidr as string)));
  return { removedMs: gone.map((atMs) => atMs - startMs) };
}

/** One node exchanges both of its keys. */
export async function measureRotation(
  cluster: Cluster,
  members: readonly Member[],
  { node, agent }: Member,
): Promise<ClusterFigures["rotation"]> {
  const { result, ...load } = await during(cluster, members, async () => {
    const [from, startMs] = [agent.lines().length, performance.now()];
    await wgMust(node, ["key", "rotate"]);
    await agent.waitFor("the rotation is done", rotationMs, from);
    return performance.now() - startMs;
  });
  return { ...load, doneMs: result };
}
