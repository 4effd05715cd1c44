// The routes of nodes as the kernel tells of them, by `ip monitor`: when each prefix came into the tunnel, and when it
// went. Times are those at which the line reached this process, as performance.now() says it.
import type { Node } from "../../lab/node.ts";
import { waitUntil } from "../../lab/wait.ts";

const timeoutMs = 120_000;
const intoTunnel = / dev wg-cni-[ab] /;

export class TunnelRoutes {
  readonly #came = new Map<string, number>();
  readonly #gone = new Map<string, number>();

  /** Begins to listen. Ends with the node's lab. */
  constructor(readonly node: Node) {
    node.start(["sh", "-c", "ip monitor route >&2"], { onStderrLine: (line) => this.#note(line) });
  }

  /** Returns when the first route to `prefix` into the tunnel came. */
  came(prefix: string): Promise<number> {
    return this.#find(this.#came, prefix, "a route into the tunnel");
  }

  /** Returns when a route to `prefix` was deleted last. */
  gone(prefix: string): Promise<number> {
    return this.#find(this.#gone, prefix, "the end of a route into the tunnel");
  }

  #note(line: string): void {
    if (!intoTunnel.test(line)) return;
    const [first = "", second = ""] = line.split(" ");
    const now = performance.now();
    if (first === "Deleted") this.#gone.set(second, now);
    else if (!this.#came.has(first)) this.#came.set(first, now);
  }

  async #find(times: ReadonlyMap<string, number>, prefix: string, what: string): Promise<number> {
    const find = () => times.get(prefix);
    return (await waitUntil(find, {
      ...{ what: `${what} for ${prefix} on ${this.node.name}`, timeoutMs },
    })) as number;
  }
}
