// Reports to the API how this node sees its peers: the status of its object, and events about records
// that claim what this node has. It sends one request at a time, at intervals, and only new facts. A
// refused report is only logged, because the mesh does not depend on it.

import type { Contest, StatusFacts } from "../../kube/conditions.ts";
import { eventsPath, formatEvent, formatLapseEvent, formatMeshEvent } from "../../kube/event.ts";
import { objectsPath, type RecordObject } from "../../kube/object.ts";
import { compareAge } from "../../kube/record-entries";
import { formatStatus, planStatus, statusSpacingMs } from "../../kube/status-report";
import type { KubeClient } from "../../kubeclient/client.ts";
import { messageOf } from "../../net/error.ts";
import type { Lapse } from "../../plan/peers/lapses.ts";
import type { Log } from "../../telemetry/log.ts";

/** A new node needs this time for its first handshakes. */
const settleMs = 10_000;
/** Bounds the events of one process, because a record may claim thousands of things. */
const maxEvents = 100;

type Write = readonly [path: string, body: object];

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly log: Log;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
  /** Unix milliseconds. */
  readonly wallClock: () => number;
  readonly random: () => number;
}

export class StatusWriter implements Disposable {
  readonly #ended = new AbortController();
  readonly #reported = new Set<string>();
  #nextMs: number;
  #isWriting = false;

  constructor(private readonly options: StatusWriterOptions) {
    this.#nextMs = options.now() + settleMs;
  }

  [Symbol.dispose](): void {
    this.#ended.abort(new Error("the writer of the status was ended"));
  }

  /** Milliseconds until `offer` does anything. */
  get restsForMs(): number {
    return Math.max(0, this.#nextMs - this.options.now());
  }

  /** `read` is called only if a report is due; `before`: the status in the API; `objects`: all objects by name. */
  offer(
    name: string,
    read: () => StatusFacts,
    before: unknown,
    objects: ReadonlyMap<string, RecordObject>,
  ): void {
    const { now, wallClock, random } = this.options;
    if (this.#isWriting || now() < this.#nextMs) return;
    const facts = read();
    this.#nextMs = now() + statusSpacingMs(facts.peers) * (1 + random() / 2);
    const own = objects.get(name);
    const wasFirst = (peer: string) => {
      const other = objects.get(peer);
      return own !== undefined && other !== undefined && compareAge(other, own) < 0;
    };
    const status = planStatus(facts, wasFirst, before, wallClock());
    const refused = facts.contested.filter(({ peer }) => !wasFirst(peer));
    const writes = [
      ...(status === undefined
        ? []
        : [[`${objectsPath}/${name}/status`, formatStatus(name, status)] as const]),
      ...this.#events(name, refused, objects),
      ...this.#meshEvent(name, facts.meshWarning),
      ...this.#lapses(name, facts.lapsed ?? [], objects),
    ];
    if (writes.length > 0) void this.#write(writes);
  }

  /** This process reports each event once. */
  #events(name: string, refused: readonly Contest[], objects: ReadonlyMap<string, RecordObject>): Write[] {
    return refused.flatMap((contest): Write[] => {
      const object = objects.get(contest.peer);
      if (object === undefined) return [];
      return this.#reportOnce(formatEvent(name, object, contest, this.options.wallClock()));
    });
  }

  #lapses(name: string, lapses: readonly Lapse[], objects: ReadonlyMap<string, RecordObject>): Write[] {
    return lapses.flatMap((lapse): Write[] => {
      const object = objects.get(lapse.claimant);
      if (object === undefined) return [];
      return this.#reportOnce(formatLapseEvent(name, object, lapse, this.options.wallClock()));
    });
  }

  #meshEvent(name: string, warning: string): Write[] {
    return warning === "" ? [] : this.#reportOnce(formatMeshEvent(name, warning, this.options.wallClock()));
  }

  #reportOnce(event: object & { readonly metadata: { readonly name: string } }): Write[] {
    const path = `${eventsPath}/${event.metadata.name}`;
    if (this.#reported.has(path) || this.#reported.size >= maxEvents) return [];
    this.#reported.add(path);
    return [[path, event]];
  }

  async #write(writes: readonly Write[]): Promise<void> {
    const { client, log } = this.options;
    this.#isWriting = true;
    for (const [path, body] of writes) {
      try {
        await client.apply(path, body, this.#ended.signal);
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        const reason = messageOf(error);
        log.debug("the API refused a report", { reason });
      }
    }
    this.#isWriting = false;
  }
}
