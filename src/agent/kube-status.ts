// Writes the status of this node's object: one request at a time, seldom, and
// only where it says something new. What refuses it is nobody's problem: the mesh
// does not depend on it.
import { objectsPath } from "../kube/object.ts";
import { formatStatus, planStatus, type StatusFacts, statusSpacingMs } from "../kube/status.ts";
import type { KubeClient } from "./kube-client.ts";
import type { Log } from "./log.ts";

/** A node that has just come shakes hands first. */
const settleMs = 10_000;

export interface StatusOptions {
  readonly client: KubeClient;
  readonly log: Log;
  /** Milliseconds on a clock that only goes forward. */
  readonly now: () => number;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  readonly random: () => number;
}

export class KubeStatus implements Disposable {
  readonly #ended = new AbortController();
  #nextMs: number;
  #isWriting = false;

  constructor(private readonly options: StatusOptions) {
    this.#nextMs = options.now() + settleMs;
  }

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the writer of the status was ended"));
  }

  /** How long it is until `offer` looks at anything, in milliseconds. */
  get restsForMs(): number {
    return Math.max(0, this.#nextMs - this.options.now());
  }

  /** `read` is asked only where it is time; `before`: the status as the API has it; `wasFirst`: whether a peer's object is older. */
  offer(name: string, read: () => StatusFacts, wasFirst: (peer: string) => boolean, before: unknown): void {
    const { now, wallClock, random } = this.options;
    if (this.#isWriting || now() < this.#nextMs) return;
    const facts = read();
    this.#nextMs = now() + statusSpacingMs(facts.peers) * (1 + random() / 2);
    const status = planStatus(facts, wasFirst, before, wallClock());
    if (status !== undefined) void this.#write(`${objectsPath}/${name}/status`, formatStatus(name, status));
  }

  async #write(path: string, body: object): Promise<void> {
    const { client, log } = this.options;
    this.#isWriting = true;
    try {
      await client.apply(path, body, this.#ended.signal);
    } catch (error) {
      if (!this.#ended.signal.aborted)
        log.debug("the status was not written", {
          reason: error instanceof Error ? error.message : String(error),
        });
    } finally {
      this.#isWriting = false;
    }
  }
}
