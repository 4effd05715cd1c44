// Keeps this node's record published in a place: writes it if it differs, one write at a time, rests
// after a failure, and does not fight with another writer. A write may take a while; then the pass that
// publishes does not wait, and a later one finds the outcome.
import type { Backoff } from "../net/backoff.ts";
import { Spacing } from "../net/spacing.ts";
import type { Log } from "../telemetry/log.ts";
import type { Publication } from "./record-source.ts";

/** Bounds how often two agents that write the same record overwrite each other. */
const rewriteSpacingMs = 30_000;

export interface PublisherOptions<T> {
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Compares what the place has with the record; "absent": there is none, which is not the fault of another writer. */
  readonly compare: (record: T) => "same" | "other" | "absent";
  /** Replaces what the place has. Returns a promise if the answer takes a while. */
  readonly write: (record: T) => Promise<void> | void;
  /** Describes an error of `write`. Throws it if it is none that can be expected. */
  readonly explain: (error: unknown) => string;
  /** The pauses after failures with the same record. */
  readonly backoff: Backoff;
  /** The pause that an error asks for. */
  readonly retryAfterMs?: (error: unknown) => number | undefined;
  /** A sentence for another writer that does not stop. */
  readonly explainRace: () => string;
  /** Is called when a write that took a while has ended. */
  readonly onAnswer: () => void;
}

interface Failure {
  /** The record, as JSON. */
  readonly text: string;
  readonly problem: string;
}

export class Publisher<T> implements Disposable {
  #isEnded = false;
  #isWriting = false;
  #failure: Failure | undefined;
  /** The last record that was written here, as JSON. */
  #written = "";
  /** The last record that was published by any writer, as JSON. */
  #published = "";
  readonly #rewrites = new Spacing(rewriteSpacingMs);

  constructor(private readonly options: PublisherOptions<T>) {}

  [Symbol.dispose](): void {
    this.#isEnded = true;
  }

  publish(record: T): Publication {
    const text = JSON.stringify(record);
    const found = this.options.compare(record);
    if (found === "same") return this.#accept(text);
    const { backoff, now } = this.options;
    const nowMs = now();
    if (!this.#isWriting && this.#failure?.text !== text) backoff.reset();
    if (this.#isWriting || backoff.waitMs(nowMs) > 0) return this.#pending();
    if (found === "other" && text === this.#written) {
      const waitMs = this.#rewrites.take(nowMs);
      if (waitMs > 0) return { done: false, problem: this.options.explainRace(), wakeInMs: waitMs };
    }
    if (found === "other" && text === this.#published && this.#failure === undefined)
      this.options.log.warn("this node's record was changed by another process, restored");
    return this.#write(record, text);
  }

  #write(record: T, text: string): Publication {
    try {
      const answer = this.options.write(record);
      if (answer === undefined) {
        this.#written = text;
        return this.#accept(text);
      }
      this.#isWriting = true;
      void this.#await(answer, text);
    } catch (error) {
      this.#fail(error, text);
    }
    return this.#pending();
  }

  async #await(answer: Promise<void>, text: string): Promise<void> {
    try {
      await answer;
      this.#written = text;
      this.#failure = undefined;
    } catch (error) {
      if (!this.#isEnded) this.#fail(error, text);
    } finally {
      this.#isWriting = false;
    }
    if (!this.#isEnded) this.options.onAnswer();
  }

  #accept(text: string): Publication {
    this.#failure = undefined;
    if (text !== this.#published) this.options.log.info("this node's record is published");
    this.#published = text;
    return { done: true };
  }

  /** Reports the last failure until the place accepts the record. */
  #pending(): Publication {
    if (this.#failure === undefined) return { done: false };
    const { backoff, now } = this.options;
    const wakeInMs = backoff.waitMs(now());
    return { done: false, problem: this.#failure.problem, ...(wakeInMs > 0 ? { wakeInMs } : {}) };
  }

  #fail(error: unknown, text: string): void {
    const { explain, backoff, retryAfterMs, now } = this.options;
    this.#failure = { text, problem: explain(error) };
    backoff.fail(now(), { retryAfterMs: retryAfterMs?.(error) });
  }
}
