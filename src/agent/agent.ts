// The node agent: keeps the mesh as the store says. It looks when the kernel or
// the store changes, and every so often anyway; what it does then is `sync`.
// Stopping it leaves the data plane running.
//
//   kernel event ─┐
//   store write  ─┼─► look soon (settle, at most once a spacing) ─► sync
//   resync timer ─┘
import { firewallEvents, type KernelEvent, routeEvents } from "../netlink/events.ts";
import { firewallName } from "../plan/mesh.ts";
import { renderStep } from "../plan/step.ts";
import { readSettings } from "../reconcile/node.ts";
import type { Session } from "../reconcile/session.ts";
import { NotUpError, type SyncReport } from "../reconcile/sync.ts";
import { type Watcher, watchKernel, watchStore } from "./events.ts";
import type { Log } from "./log.ts";

/** Changes come in bursts; the first look waits for the rest of one. */
const settleMs = 50;
/** At most four looks a second, however much happens: a repair is still done within one. */
const spacingMs = 250;
/** Calico resyncs every 90 s; events make it a safety net. */
const resyncMs = 60_000;

export interface AgentOptions {
  readonly stateDir: string;
  readonly log: Log;
  /** Called after every look, with the failure that is standing, if any. */
  readonly onLook: (problem: string | undefined) => void;
}

export class Agent implements Disposable {
  readonly #watchers: Watcher[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #reasons = new Set<string>();
  #problem: string | undefined;
  #generation = -1;

  constructor(
    private readonly session: Session,
    private readonly options: AgentOptions,
  ) {}

  /** Looks once, then at every change. */
  start(): void {
    const heard = (event: KernelEvent) => this.#heard(event);
    const lost = (reason: string) => this.#lookSoon(`events were lost (${reason})`);
    this.#watchers.push(watchKernel(routeEvents, heard, lost));
    if (this.session.kernel.firewall !== undefined)
      this.#watchers.push(watchKernel(firewallEvents, heard, lost));
    this.#watchers.push(watchStore(this.options.stateDir, () => this.#storeChanged()));
    const resync = setInterval(() => this.#lookSoon("resync"), resyncMs);
    this.#watchers.push({ [Symbol.dispose]: () => clearInterval(resync) });
    this.#look("start");
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers) watcher[Symbol.dispose]();
  }

  #heard(event: KernelEvent): void {
    const { hostTable, podTable, deviceA, deviceB } = readSettings(this.session.store);
    // Others change their tables all day.
    if (event.about === "firewall" && event.table !== firewallName) return;
    if (event.about === "route" && event.table !== hostTable && event.table !== podTable) return;
    // Pods come and go all day; the uplink's MTU is the resync's.
    if (event.about === "link" && event.name !== deviceA && event.name !== deviceB) return;
    this.#lookSoon(event.about);
  }

  /** Attachments change with every pod and need nothing of us; settings, identity and peers have a generation. */
  #storeChanged(): void {
    if (this.session.store.generation !== this.#generation) this.#lookSoon("store");
  }

  #lookSoon(reason: string): void {
    this.#reasons.add(reason);
    if (this.#timer !== undefined) return;
    const rested = performance.now() - this.#lastLookMs;
    this.#timer = setTimeout(
      () => this.#look([...this.#reasons].join(", ")),
      Math.max(settleMs, spacingMs - rested),
    );
  }

  #look(reason: string): void {
    this.#timer = undefined;
    this.#reasons.clear();
    this.#lastLookMs = performance.now();
    this.#generation = this.session.store.generation;
    try {
      this.#report(this.session.sync(), reason);
    } catch (error) {
      this.#stand(error instanceof Error ? error.message : String(error), error instanceof NotUpError);
    }
    this.options.onLook(this.#problem);
  }

  #report(report: SyncReport, reason: string): void {
    const { log } = this.options;
    log.debug("looked", { reason, writes: report.writes });
    if (report.writes > 0)
      log.info("the mesh was changed", { reason, writes: report.writes, first: firstCommand(report) });
    this.#stand(report.failures[0]?.error.message, false);
  }

  /** One line when a problem appears, changes or passes; none while it stands. */
  #stand(problem: string | undefined, expected: boolean): void {
    if (problem === this.#problem) return;
    const { log } = this.options;
    if (problem === undefined) log.info("the problem has passed");
    else if (expected) log.info(problem);
    else log.error(problem);
    this.#problem = problem;
  }
}

function firstCommand({ steps }: SyncReport): string | undefined {
  return steps.flatMap(renderStep)[0];
}
