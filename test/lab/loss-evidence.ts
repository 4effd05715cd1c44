// Tells where the packets of a stream were lost, if some were: which counters of dropped packets moved in which
// namespace, and what changed in the kernel and was said by the agents at that time. It takes note of the
// counters when the stream begins, and asks the rest only if somebody wants to know.
import type { LostRange } from "./arrivals.ts";
import { type DropCounters, movedCounters, parseListing, readDropCounters } from "./drop-counters.ts";
import type { Running } from "./namespaces.ts";
import type { Node } from "./node.ts";

/** By place, lines of what was seen there. */
export type Evidence = Readonly<Record<string, readonly string[]>>;

interface Watched {
  readonly counters: DropCounters;
  readonly listed: DropCounters;
  /** Changes of links, addresses, routes, rules and neighbours. */
  readonly monitor: Running;
  readonly changes: readonly string[];
}

const list = ["sh", "-c", "nft list ruleset 2>/dev/null; tc -s qdisc 2>/dev/null; true"];
const monitor = "exec ip -ts -o monitor link address route rule neigh >&2";
/** Of changes and lines before a loss and after it: a cause may be older than its effect. */
const marginMs = 1500;
const longestTale = 25;

export class LossEvidence {
  #ended: ReadonlyMap<string, readonly string[]> = new Map();

  private constructor(
    private readonly watched: ReadonlyMap<Node, Watched>,
    private readonly wire: { readonly directory: string; readonly counters: DropCounters } | undefined,
  ) {}

  static async start(nodes: ReadonlySet<Node>): Promise<LossEvidence> {
    const watched = [...nodes].map(async (node) => {
      const changes: string[] = [];
      const running = node.start(["sh", "-c", monitor], {
        env: { TZ: "UTC" },
        onStderrLine: (line) => changes.push(line),
      });
      const listed = parseListing((await node.run(list)).stdout);
      return [
        node,
        { counters: readDropCounters(netOf(node.pid)), listed, monitor: running, changes },
      ] as const;
    });
    const [first] = nodes;
    const directory = first && netOf(first.wirePid);
    const wire = directory === undefined ? undefined : { directory, counters: readDropCounters(directory) };
    return new LossEvidence(new Map(await Promise.all(watched)), wire);
  }

  /** `ofPods` are the counters that moved in other namespaces, by the names of those. */
  end(ofPods: ReadonlyMap<string, readonly string[]>): void {
    const ended = new Map(ofPods);
    for (const [node, { counters, monitor }] of this.watched) {
      monitor.signal("SIGTERM");
      ended.set(node.label, movedCounters(counters, readDropCounters(netOf(node.pid))));
    }
    if (this.wire)
      ended.set("wire", movedCounters(this.wire.counters, readDropCounters(this.wire.directory)));
    this.#ended = ended;
  }

  /** Asks the nodes, so it has to be called before their rules and devices change. */
  describe(lost: readonly LostRange[]): Evidence {
    const isNear = (ms: number) =>
      lost.some(({ fromMs, toMs }) => ms > fromMs - marginMs && ms < toMs + marginMs);
    const evidence = new Map<string, readonly string[]>();
    for (const [place, moved] of this.#ended) evidence.set(`counters of ${place}`, moved);
    for (const [node, { listed, changes }] of this.watched) {
      const now = parseListing(node.exec(list).stdout);
      evidence.set(`rules and queues of ${node.label}`, movedCounters(listed, now));
      const failed = node.exec(["ip", "neigh", "show", "nud", "failed", "nud", "incomplete"]).stdout;
      evidence.set(
        `neighbours of ${node.label} without an answer`,
        failed.trim().split("\n").filter(Boolean),
      );
      const near = changes.filter((line) => isNear(Date.parse(`${line.slice(1, 24)}Z`)));
      evidence.set(`changes on ${node.label}`, near.slice(0, longestTale));
      const said = node.agents.flatMap((agent) =>
        agent.lines().filter(({ time }) => isNear(Date.parse(time))),
      );
      evidence.set(
        `agent of ${node.label}`,
        said.slice(0, longestTale).map((line) => JSON.stringify(line)),
      );
    }
    return Object.fromEntries([...evidence].filter(([, lines]) => lines.length > 0));
  }
}

function netOf(pid: number): string {
  return `/proc/${pid}/net`;
}
