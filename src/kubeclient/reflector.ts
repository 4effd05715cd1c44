// Keeps a map of the API's objects of one kind: it lists them once, page by page, then watches. After
// the end of a watch it continues from the last version. Only if the server does not know that version
// any more, it lists all objects again. During an outage of the API the map stays as it was.
//
//   list ──► watch ──► ended, busy, silent ──► rest ──► watch, from the last version
//    ▲                 version not known ────► rest ─┐
//    └───────────────────────────────────────────────┘
import { KubeError } from "../kube/error.ts";
import { mustListAgain, readWatchLine, type WatchEvent } from "../kube/watch.ts";
import { Backoff, type BackoffBounds } from "../net/backoff.ts";
import { messageOf } from "../net/error.ts";
import type { KubeClient, Query } from "./client.ts";
import { listPages } from "./list.ts";

/** The part of an object that is kept. */
export interface CachedObject {
  readonly name: string;
  readonly resourceVersion: string;
}

export interface ReflectorOptions<T extends CachedObject> {
  readonly client: KubeClient;
  readonly path: string;
  /** Selects objects: {fieldSelector: "metadata.name=node-1"}. */
  readonly query?: Query;
  /** Returns undefined for an object to be ignored. */
  readonly read: (json: unknown) => T | undefined;
  /** True if no relevant part differs. */
  readonly isSame: (a: T, b: T) => boolean;
  /** True if `seen` is an older state than `known`. */
  readonly isOlder: (seen: T, known: T) => boolean;
  /** Is called when the map or the state of the connection has changed. */
  readonly onChange: () => void;
  readonly timing: WatchTiming;
  /** Returns a random number from 0 to 1. */
  readonly random: () => number;
  /** True if the server may have no such kind; then requests become rarer. */
  readonly isOptional?: boolean;
}

export interface WatchTiming {
  /** The server is asked to end a watch after one to two times this, so that the watches of thousands of agents spread over the servers. */
  readonly watchMs: number;
  /** A watch without any line for so long is dead, because bookmarks come about once a minute. */
  readonly idleMs: number;
  /** A watch that lasted so long resets the backoff, however it ended. */
  readonly sustainedMs: number;
  readonly retries: BackoffBounds;
  /** The longest backoff if the server has no such optional kind. */
  readonly notFoundMs: number;
}

export const usualTiming: WatchTiming = {
  ...{ watchMs: 1_800_000, idleMs: 300_000, sustainedMs: 10_000, notFoundMs: 600_000 },
  // 5,000 agents without a server send 222 requests a second.
  retries: { firstMs: 1000, longestMs: 30_000 },
};

export class Reflector<T extends CachedObject> implements Disposable {
  readonly #ended = new AbortController();
  #objects = new Map<string, T>();
  /** Names of objects that we wrote and that the watch has not yet delivered. */
  readonly #unconfirmed = new Set<string>();
  #lists = 0;
  /** performance.now() at the beginning of the watch; undefined while there is none. */
  #watchingSinceMs: number | undefined;
  readonly #backoff: Backoff;
  #isMissing = false;
  #problem: string | undefined;
  #version: string | undefined;
  /** The version of the last list. */
  #listed: string | undefined;

  constructor(private readonly options: ReflectorOptions<T>) {
    this.#backoff = new Backoff(options.timing.retries, options.random);
  }

  start(): void {
    void this.#run();
  }

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the watch was ended"));
  }

  /** The objects by name. */
  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Number of complete lists; 0 until the map is valid. */
  get lists(): number {
    return this.#lists;
  }

  /** True while a watch delivers changes. */
  get isCurrent(): boolean {
    return this.#watchingSinceMs !== undefined;
  }

  /** A sentence that says why the map may be old, from the second failure in a row on. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** True if the server's last answer was that it has no such resource. */
  get isMissing(): boolean {
    return this.#isMissing;
  }

  /** The answer to one of our writes is often earlier than the watch. */
  observeWrite(json: unknown): void {
    const object = this.options.read(json);
    if (object === undefined) return;
    this.#unconfirmed.add(object.name);
    this.#put(object);
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      let restMs: number;
      try {
        this.#version ??= await this.#list(signal);
        await this.#watch(signal, this.#version);
        restMs = this.#handleEnd();
      } catch (error) {
        if (signal.aborted) return;
        restMs = this.#handleFailure(toKubeError(error));
      }
      await sleep(restMs, signal);
    }
  }

  /** Is called when the server has ended the watch, as it does regularly. Returns the backoff; a watch that ended at once counts as a failure. */
  #handleEnd(): number {
    return this.#resetIfSustained() ? 0 : this.#backoff.fail(performance.now());
  }

  /** Returns the backoff after a failure. */
  #handleFailure(error: KubeError): number {
    const { isOptional = false, timing, onChange } = this.options;
    const wasKnown = !this.isCurrent && this.#problem === error.message;
    this.#resetIfSustained();
    const { status, retryAfterMs } = error.failure;
    if (status !== undefined) this.#isMissing = status === 404;
    if (mustListAgain(error, this.#backoff.failures + 1)) this.#forgetVersion(error);
    const longestMs = isOptional && status === 404 ? timing.notFoundMs : undefined;
    const pauseMs = this.#backoff.fail(performance.now(), { retryAfterMs, longestMs });
    // A single failure may be the restart of a server. Before the first list it is reported at once.
    if (this.#backoff.failures > 1 || this.#lists === 0) this.#problem = error.message;
    if (!wasKnown) onChange();
    return pauseMs;
  }

  /** Is called at the end of a watch. Counts only the time after the server's answer. */
  #resetIfSustained(): boolean {
    const sinceMs = this.#watchingSinceMs;
    this.#watchingSinceMs = undefined;
    const isSustained =
      sinceMs !== undefined && performance.now() - sinceMs >= this.options.timing.sustainedMs;
    if (isSustained) this.#backoff.reset();
    return isSustained;
  }

  /** After a long outage the version has usually expired. That answer shows that the server is back, so the backoff is shortened. */
  #forgetVersion({ failure }: KubeError): void {
    if (failure.status === 410 && this.#version !== this.#listed) this.#backoff.limit(2);
    this.#version = undefined;
  }

  async #list(signal: AbortSignal): Promise<string> {
    const { client, path, query = {}, read } = this.options;
    const objects = new Map<string, T>();
    this.#unconfirmed.clear();
    let version = "";
    for await (const { items, resourceVersion } of listPages(client, path, query, signal)) {
      for (const item of items) {
        const object = read(item);
        if (object !== undefined) objects.set(object.name, object);
      }
      version = resourceVersion;
    }
    this.#replaceAll(objects);
    this.#listed = version;
    return version;
  }

  #replaceAll(objects: Map<string, T>): void {
    const before = this.#objects;
    for (const name of this.#unconfirmed) objects.set(name, before.get(name) as T);
    this.#objects = objects;
    this.#isMissing = false;
    this.#lists++;
    this.options.onChange();
  }

  async #watch(signal: AbortSignal, version: string): Promise<void> {
    const { client, path, query = {}, timing, random } = this.options;
    const watching = {
      ...{ allowWatchBookmarks: "true", resourceVersion: version },
      timeoutSeconds: String(Math.ceil((timing.watchMs * (1 + random())) / 1000)),
    };
    const idle = new IdleTimeout(timing.idleMs, path);
    using _silence = idle;
    const lines = await client.watch(path, { ...query, ...watching }, AbortSignal.any([signal, idle.signal]));
    this.#watchingSinceMs = performance.now();
    if (this.#problem !== undefined) this.options.onChange();
    this.#problem = undefined;
    idle.restart();
    for await (const line of lines) {
      idle.restart();
      this.#handleEvent(readWatchLine(line));
    }
  }

  #handleEvent({ change, object, resourceVersion }: WatchEvent): void {
    this.#version = resourceVersion;
    const seen = change === undefined ? undefined : this.options.read(object);
    if (seen === undefined || this.#isStale(seen)) return;
    if (change === "put") this.#put(seen);
    else this.#delete(seen.name);
  }

  /** An event about an object that we wrote may be older than the write. */
  #isStale(seen: T): boolean {
    if (!this.#unconfirmed.has(seen.name)) return false;
    const known = this.#objects.get(seen.name);
    if (known !== undefined && this.options.isOlder(seen, known)) return true;
    this.#unconfirmed.delete(seen.name);
    return false;
  }

  #put(seen: T): void {
    const { isSame, onChange } = this.options;
    const before = this.#objects.get(seen.name);
    this.#objects.set(seen.name, seen);
    if (before !== undefined && isSame(seen, before)) return;
    onChange();
  }

  #delete(name: string): void {
    if (this.#objects.delete(name)) this.options.onChange();
  }
}

/** Ends a watch without any line, because a connection can be dead without an error. */
class IdleTimeout implements Disposable {
  readonly #controller = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ms: number,
    private readonly path: string,
  ) {}

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts the time again. */
  restart(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(this.#idleError()), this.ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #idleError(): KubeError {
    return new KubeError(
      `The watch of ${this.path} was silent for ${this.ms / 1000} s, without even a bookmark.`,
    );
  }
}

function toKubeError(error: unknown): KubeError {
  if (error instanceof KubeError) return error;
  const message = messageOf(error);
  return new KubeError(`The Kubernetes API cannot be watched: ${message}`, {}, { cause: error });
}

/** Resolves early if `signal` aborts. */
async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = () => resolve();
  const timer = setTimeout(wake, ms);
  signal.addEventListener("abort", wake);
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", wake);
}
