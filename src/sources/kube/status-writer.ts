// Reports to the API how this node sees its peers: the status of its object, and events about records
// that claim what this node has. It sends one request at a time, at intervals, and only new facts. A
// refused report is only logged, because the mesh does not depend on it.

import type { Contest, StatusFacts } from "../../kube/conditions.ts";
import { eventsPath, formatEvent, formatLapseEvent, formatMeshEvent } from "../../kube/event.ts";
import { objectsPath, type RecordObject } from "../../kube/object.ts";
import { compareAge } from "../../kube/record-entries.ts";
import {
  formatStatus,
  isAlarm,
  lookSpacingMs,
  planStatus,
  statusSpacingMs,
} from "../../kube/status-report.ts";
import type { KubeClient } from "../../kubeclient/client.ts";
import { messageOf } from "../../net/error.ts";
import type { Lapse } from "../../plan/peers/lapses.ts";
import type { Log } from "../../telemetry/log.ts";

/** A new node needs this time for its first handshakes. */
const settleMs = 10_000;
/** A node that has not written for a while may write this often in a row: a change is seen at once. */
const maxSavedWrites = 4;
/** The last of these is for alarms: a condition that was True and is not any more. */
const keptForAlarms = 1;
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
  /** Writes that may be made now, and when this was reckoned. */
  #savedWrites = maxSavedWrites;
  #savedAtMs: number;
  #isWriting = false;

  constructor(private readonly options: StatusWriterOptions) {
    this.#nextMs = options.now() + settleMs;
    this.#savedAtMs = options.now();
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
    const spacingMs = statusSpacingMs(facts.peers) * (1 + random() / 2);
    this.#nextMs = now() + lookSpacingMs(facts.peers);
    this.#save(spacingMs);
    const own = objects.get(name);
    const wasFirst = (peer: string) => {
      const other = objects.get(peer);
      return own !== undefined && other !== undefined && compareAge(other, own) < 0;
    };
    const status = planStatus(facts, wasFirst, before, wallClock());
    const needed = status !== undefined && isAlarm(status, before) ? 1 : 1 + keptForAlarms;
    if (this.#savedWrites < needed) return;
    const refused = facts.contested.filter(({ peer }) => !wasFirst(peer));
    const writes = [
      ...(status === undefined
        ? []
        : [[`${objectsPath}/${name}/status`, formatStatus(name, status)] as const]),
      ...this.#events(name, refused, objects),
      ...this.#meshEvent(name, facts.meshWarning),
      ...this.#lapses(name, facts.lapsed ?? [], objects),
    ];
    if (writes.length === 0) return;
    this.#savedWrites--;
    void this.#write(writes);
  }

  /** One write for each spacing that has passed, so that in the long run there is no more than that. */
  #save(spacingMs: number): void {
    const nowMs = this.options.now();
    const saved = this.#savedWrites + (nowMs - this.#savedAtMs) / spacingMs;
    this.#savedWrites = Math.min(maxSavedWrites, saved);
    this.#savedAtMs = nowMs;
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
