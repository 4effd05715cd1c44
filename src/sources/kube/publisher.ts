// Writes this node's record to the API: one request at a time, and none if the watch shows the record
// as it should be. The pass that asks does not wait; a later pass finds the outcome.
import { KubeError } from "../../kube/error.ts";
import { formatObject, isPublished, objectsPath, type RecordObject } from "../../kube/object.ts";
import { type RetryTiming, retryDelayMs } from "../../kube/watch.ts";
import type { KubeClient } from "../../kubeclient/client.ts";
import type { NodeRecord } from "../../net/record.ts";

/** Bounds how often two agents that write the same object overwrite each other. */
const rewriteSpacingMs = 30_000;

export interface PublisherOptions {
  readonly client: KubeClient;
  readonly retries: RetryTiming;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly random: () => number;
  /** Is called when a request has ended; `written` is the object as the API has it now, absent after a failure. */
  readonly onAnswer: (written: unknown | undefined) => void;
}

export interface Publication {
  /** True if the API has the record. */
  readonly done: boolean;
  /** A sentence, present if the API refuses the record. */
  readonly problem?: string;
  /** Time until the next attempt, if nothing else triggers a pass. */
  readonly wakeInMs?: number;
}

interface Failure {
  readonly text: string;
  readonly count: number;
  readonly untilMs: number;
  readonly problem: string;
}

export class RecordPublisher implements Disposable {
  readonly #ended = new AbortController();
  #isWriting = false;
  #failure: Failure | undefined;
  /** The last text that the API accepted. */
  #written = "";
  #rewrittenAtMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: PublisherOptions) {}

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the publisher was ended"));
  }

  /** `seen`: the object as the API has it; `nodeUid`: UID of the Node that will own it. */
  publish(record: NodeRecord, nodeUid: string, seen: RecordObject | undefined): Publication {
    if (isPublished(seen, record, nodeUid)) {
      this.#failure = undefined;
      return { done: true };
    }
    if (this.#isWriting) return this.#pending();
    const body = formatObject(record, nodeUid);
    const text = JSON.stringify(body);
    const nowMs = this.options.now();
    if (this.#failure?.text === text && nowMs < this.#failure.untilMs) return this.#pending();
    const race = text === this.#written ? this.#findRace(record.name, nowMs) : undefined;
    if (race !== undefined) return race;
    void this.#write(`${objectsPath}/${record.name}`, body, text);
    return this.#pending();
  }

  /** Reports the last failure until the API accepts the record. */
  #pending(): Publication {
    if (this.#failure === undefined) return { done: false };
    const { problem, untilMs } = this.#failure;
    return { done: false, problem, wakeInMs: Math.max(0, untilMs - this.options.now()) };
  }

  /** If another writer changed the object, it is restored at once, but repeated changes only after a pause. */
  #findRace(name: string, nowMs: number): Publication | undefined {
    const waitMs = this.#rewrittenAtMs + rewriteSpacingMs - nowMs;
    if (waitMs > 0)
      return {
        done: false,
        wakeInMs: waitMs,
        problem: `Another client overwrites WireGuardNode ${name} repeatedly: is there another node with the name ${name}, or a tool that applies an old copy?`,
      };
    this.#rewrittenAtMs = nowMs;
    return undefined;
  }

  async #write(path: string, body: object, text: string): Promise<void> {
    const { client, onAnswer } = this.options;
    this.#isWriting = true;
    let written: unknown;
    try {
      written = await client.apply(path, body, this.#ended.signal);
      this.#written = text;
      this.#failure = undefined;
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      this.#failure = this.#fail(error, text);
    } finally {
      this.#isWriting = false;
    }
    onAnswer(written);
  }

  #fail(error: unknown, text: string): Failure {
    const { now, random, retries } = this.options;
    const count = this.#failure?.text === text ? this.#failure.count + 1 : 1;
    const { status, retryAfterMs } = error instanceof KubeError ? error.failure : {};
    const delayMs = retryDelayMs(count, random(), retryAfterMs, retries);
    return { text, count, untilMs: now() + delayMs, problem: explain(error, status) };
  }
}

function explain(error: unknown, status: number | undefined): string {
  const message = error instanceof Error ? error.message : String(error);
  const remedy =
    status === 404
      ? " Is the resource installed (conf/kubernetes)?"
      : status === 403
        ? " Check the agent's role and the admission policy (conf/kubernetes)."
        : "";
  return `This node's record could not be published: ${message.replace(/[.\s]*$/, "")}.${remedy}`;
}
