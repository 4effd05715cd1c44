// Asks the API which of the records' Nodes exist (kube/census.ts), one request at a time, for names
// and UIDs only. The pass that asks does not wait.
import {
  findPresence,
  listSpacingMs,
  type Presence,
  type PresenceAnswer,
  planCensus,
  toPresenceAnswer,
} from "../../kube/census.ts";
import { KubeError } from "../../kube/error.ts";
import type { RecordObject } from "../../kube/object.ts";
import type { KubeClient } from "../../kubeclient/client.ts";
import { listUids } from "../../kubeclient/list.ts";
import { Backoff, type BackoffBounds } from "../../net/backoff.ts";
import { messageOf } from "../../net/error.ts";

export interface NodeCensusOptions {
  readonly client: KubeClient;
  /** Path of the collection of Nodes. */
  readonly path: string;
  readonly retries: BackoffBounds;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  readonly random: () => number;
  /** Is called after a request has succeeded or failed: call `refresh` again. */
  readonly onAnswer: () => void;
}

export class NodeCensus implements Disposable {
  readonly #ended = new AbortController();
  #answers = new Map<string, PresenceAnswer>();
  #nextListMs: number | undefined;
  #isAsking = false;
  readonly #backoff: Backoff;
  #problem: string | undefined;

  constructor(private readonly options: NodeCensusOptions) {
    this.#backoff = new Backoff(options.retries, options.random);
  }

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the census of Nodes was ended"));
  }

  /** True from the first answer on. */
  get hasAnswered(): boolean {
    return this.#nextListMs !== undefined;
  }

  /** A sentence that says why requests fail, from the second failure in a row on. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** Undefined until the API has answered about this object. */
  presenceOf(object: RecordObject): Presence | undefined {
    return findPresence(object, this.#answers);
  }

  /** Starts a request if one is due. Returns the time until the next call, if nothing else triggers a pass. */
  refresh(objects: ReadonlyMap<string, RecordObject>, ownName: string | undefined): number | undefined {
    if (this.#isAsking) return undefined;
    const nowMs = this.options.now();
    const restMs = this.#backoff.waitMs(nowMs);
    if (restMs > 0) return restMs;
    const plan = planCensus({
      ...{ objects, ownName, nowMs },
      ...{ answers: this.#answers, nextListMs: this.#nextListMs },
    });
    if ("wakeInMs" in plan) return plan.wakeInMs;
    void this.#ask(objects, plan.ask);
    return undefined;
  }

  async #ask(objects: ReadonlyMap<string, RecordObject>, names: "all" | readonly string[]): Promise<void> {
    const asked = names === "all" ? [...objects.values()] : names.flatMap((name) => objects.get(name) ?? []);
    this.#isAsking = true;
    try {
      const uids = await this.#read(names);
      this.#recordAnswers(asked, uids, names === "all");
      this.#backoff.reset();
      this.#problem = undefined;
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      this.#fail(error);
    } finally {
      this.#isAsking = false;
    }
    this.options.onAnswer();
  }

  async #read(names: "all" | readonly string[]): Promise<ReadonlyMap<string, string>> {
    const { client, path } = this.options;
    const { signal } = this.#ended;
    if (names === "all") return listUids(client, path, {}, signal);
    const only = (name: string) => ({ fieldSelector: `metadata.name=${name}` });
    const found = await Promise.all(names.map((name) => listUids(client, path, only(name), signal)));
    return new Map(found.flatMap((one) => [...one]));
  }

  #recordAnswers(asked: readonly RecordObject[], uids: ReadonlyMap<string, string>, isAll: boolean): void {
    const { now, random } = this.options;
    const before = this.#answers;
    const after = isAll ? new Map<string, PresenceAnswer>() : before;
    for (const object of asked) {
      after.set(object.name, toPresenceAnswer(object, uids, before.get(object.name), now()));
    }
    this.#answers = after;
    if (isAll) this.#nextListMs = now() + listSpacingMs(uids.size, random());
  }

  #fail(error: unknown): void {
    const retryAfterMs = error instanceof KubeError ? error.failure.retryAfterMs : undefined;
    this.#backoff.fail(this.options.now(), { retryAfterMs });
    if (this.#backoff.failures > 1) this.#problem = messageOf(error);
  }
}
