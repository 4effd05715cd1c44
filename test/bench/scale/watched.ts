// Measures an agent at work: the cost of a pass, of a change of a record and of a
// fresh list, by its debug log, the kernel's accounts of its process, its
// store and the routes that appear.

import { Database } from "bun:sqlite";
import { nodesPath, recordPath } from "../../cluster/support/nodes.ts";
import { paperRecord, tables } from "../../kernel/support/mesh-reference.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";
import type { Cluster } from "./cluster.ts";
import type { ChangeCost, Figures, PassCost } from "./figures.ts";
import { cpuMsOf } from "./process.ts";

/** Longer than a pass, and than the pause after one. */
const calmMs = 1500;
const timeoutMs = 120_000;
/** A link of no pod: it goes before the agent reconciles. */
const strayRoute = `blackhole 203.0.113.0/24 table ${tables.hosts}`;

/** Measures the agent's work after an action, until it is idle again. */
export async function measurePass(agent: Agent, deed: () => unknown): Promise<PassCost> {
  const from = agent.lines().length;
  const cpuMs = cpuMsOf(agent.pid);
  await deed();
  await agent.waitFor("reconciled", timeoutMs, from);
  await Bun.sleep(calmMs);
  const passes = agent
    .lines()
    .slice(from)
    .filter(({ message }) => message === "reconciled");
  // A pass that happens to follow is not its cost.
  const main = passes.reduce((most, pass) => (Number(pass["writes"]) > Number(most["writes"]) ? pass : most));
  const writes = passes.reduce((sum, pass) => sum + Number(pass["writes"]), 0);
  return { syncMs: Number(main["ms"]), cpuMs: cpuMsOf(agent.pid) - cpuMs, writes };
}

/** The kernel tells of something that is over when the agent reconciles. */
export function measureNoop(node: Node, agent: Agent): Promise<PassCost> {
  return measurePass(agent, () =>
    node.script([`ip route add ${strayRoute}`, `ip route delete ${strayRoute}`]),
  );
}

/** One of the thousands gets other pods: number `i` of such changes. */
export async function measureChange(
  cluster: Cluster,
  node: Node,
  agent: Agent,
  routes: Routes,
  i: number,
): Promise<ChangeCost> {
  const { name } = paperRecord(i);
  const cidr = `10.${200 + (i >> 8)}.${i & 255}.0/24`;
  const { generation } = readStore(node);
  const { asked, bytes } = cluster;
  let programmedMs = 0;
  const pass = await measurePass(agent, async () => {
    const startMs = performance.now();
    // As its agent does: what somebody else has changed is taken later.
    const path = `${recordPath(name)}?fieldManager=wg-cni`;
    await cluster.server.admin.patch(path, { spec: { podCIDRs: [cidr] } });
    programmedMs = (await routes.seen(cidr)) - startMs;
  });
  if (!node.must(["wg", "show", "wg-cni-a", "allowed-ips"]).includes(cidr))
    throw new Error(`${cidr} of ${name} is routed and not allowed`);
  return {
    ...{ ...pass, programmedMs, rows: rowsSince(node, generation) },
    ...{ requests: cluster.requests(asked), bytes: cluster.bytes - bytes },
  };
}

/** While the agent is not there, a Node changes and the server forgets what was before: everything is listed again. */
export async function measureRelist(cluster: Cluster, node: Node, agent: Agent): Promise<Figures["relist"]> {
  const { generation } = readStore(node);
  const from = agent.lines().length;
  const { asked, bytes } = cluster;
  const { server, admin } = cluster.server;
  agent.freeze();
  await admin.patch(`${nodesPath}/${paperRecord(1).name}`, { metadata: { labels: { forgotten: "" } } });
  // A server's memory begins where it starts.
  await server.kill();
  await server.start();
  agent.thaw();
  const line = await agent.waitFor("the API's records were read", timeoutMs, from);
  await Bun.sleep(calmMs);
  const changes = agent
    .lines()
    .slice(from)
    .filter(({ message }) => message === "mesh changed");
  return {
    ...{ requests: cluster.requests(asked), bytes: cluster.bytes - bytes },
    ms: Date.parse(line.time) - cluster.listedAt(asked),
    rows: rowsSince(node, generation),
    writes: changes.reduce((sum, { writes }) => sum + Number(writes), 0),
  };
}

/** Routes of a node as they come, by `ip monitor`. */
export class Routes {
  readonly #seen: { readonly text: string; readonly atMs: number }[] = [];

  constructor(node: Node) {
    node.start(["sh", "-c", "ip monitor route >&2"], {
      onStderrLine: (text) => this.#seen.push({ text, atMs: performance.now() }),
    });
  }

  /** When a route to `cidr` came, as performance.now() says it. */
  async seen(cidr: string): Promise<number> {
    const find = () => this.#seen.find(({ text }) => text.startsWith(`${cidr} `))?.atMs;
    return (await waitUntil(find, { what: `a route to ${cidr}`, timeoutMs, everyMs: 5 })) as number;
  }
}

function readStore(node: Node): { readonly generation: number } {
  using store = openStore(node);
  return store.query("SELECT generation FROM meta").get() as { generation: number };
}

/** Peers that were written since. */
function rowsSince(node: Node, generation: number): number {
  using store = openStore(node);
  const query = store.query("SELECT count(*) AS rows FROM peers WHERE changed_at > ?");
  return (query.get(generation) as { rows: number }).rows;
}

/** By the node's storage: SQLite follows no way through /proc. */
function openStore({ options: { storage } }: Node): Database {
  return new Database(`${storage}/wg-cni/state.db`, { readonly: true });
}
