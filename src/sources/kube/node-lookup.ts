// Reads Node objects of other nodes, one at a time. They are needed only if two nodes claim the same
// and one of them seems to be dead. An answer is kept for a minute.
import { type NodeObject, readNodeObject } from "../../kube/node-object.ts";
import { readListPage } from "../../kube/watch.ts";
import type { KubeClient } from "../../kubeclient/client.ts";
import { messageOf } from "../../net/error.ts";
import type { Log } from "../../telemetry/log.ts";

const keptMs = 60_000;
/** Bounds the answers; failed requests count, too, and are repeated after `keptMs`. */
const maxKept = 64;

export interface NodeLookupOptions {
  readonly client: KubeClient;
  readonly path: string;
  readonly log: Log;
  readonly now: () => number;
  /** Is called after an answer: call `find` again. */
  readonly onAnswer: () => void;
}

interface Answer {
  readonly atMs: number;
  /** Absent before the answer, and if there is no such Node. */
  readonly facts?: NodeObject;
}

export class NodeLookup implements Disposable {
  readonly #ended = new AbortController();
  readonly #answers = new Map<string, Answer>();

  constructor(private readonly options: NodeLookupOptions) {}

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the lookup of Node objects was ended"));
  }

  /** Returns a Node; undefined before the API has answered. */
  find(name: string): NodeObject | undefined {
    const known = this.#answers.get(name);
    const nowMs = this.options.now();
    if (known === undefined || nowMs - known.atMs >= keptMs) {
      if (this.#answers.size >= maxKept) this.#answers.clear();
      this.#answers.set(name, { ...known, atMs: nowMs });
      void this.#ask(name);
    }
    return known?.facts;
  }

  async #ask(name: string): Promise<void> {
    const { client, path, log, now, onAnswer } = this.options;
    try {
      const query = { fieldSelector: `metadata.name=${name}` };
      const { items } = readListPage(await client.get(path, query, this.#ended.signal));
      const facts = items.map(readNodeObject).find((node) => node?.name === name);
      this.#answers.set(name, { atMs: now(), ...(facts === undefined ? {} : { facts }) });
      onAnswer();
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      const reason = messageOf(error);
      log.debug("reading another node's Node object failed", { node: name, reason });
    }
  }
}
