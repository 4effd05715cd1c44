// Does what a plan says to the nodes of a lab, each deed at its time. What concerns one pod, one agent or
// one link happens one after the other, everything else at the same time.
import { repository } from "../lab/paths.ts";
import type { Pod } from "../lab/pod.ts";
import { readConfList } from "../lab/runtime.ts";
import { ping } from "../lab/traffic.ts";
import type { Loss, Window } from "./account.ts";
import type { Cluster } from "./cluster.ts";
import { type Deed, damages, type Event, type Kind, type NodeIndex } from "./plan.ts";

const list = readConfList(`${repository}/conf/10-wg-cni.conflist`);

/** So many deeds at once: more would measure how busy the machine is. */
const atOnce = 8;

export class Driver {
  readonly windows: Window[] = [];
  /** Packets of pods that live shortly. */
  readonly losses: Loss[] = [];
  readonly done: Partial<Record<Kind, number>> = {};
  readonly refused: Partial<Record<Kind, number>> = {};
  readonly failures: string[] = [];
  visits = 0;
  latestMs = 0;
  readonly #pods = new Map<number, Pod>();
  readonly #chains = new Map<string, Promise<void>>();
  readonly #running = new Set<Promise<void>>();

  constructor(private readonly cluster: Cluster) {}

  /** Resolves when all of it has been done. Failures of deeds are collected, not thrown. */
  async run(events: readonly Event[]): Promise<void> {
    const startMs = performance.now();
    for (const { atMs, deed } of events) {
      const waitMs = startMs + atMs - performance.now();
      if (waitMs > 0) await Bun.sleep(waitMs);
      while (this.#running.size >= atOnce) await Promise.race(this.#running);
      this.latestMs = Math.max(this.latestMs, performance.now() - startMs - atMs);
      this.#queue(deed);
    }
    await Promise.all(this.#running);
  }

  #queue(deed: Deed): void {
    const subject = subjectOf(deed);
    const before = this.#chains.get(subject) ?? Promise.resolve();
    const work = before.then(() => this.#tryTo(deed));
    this.#chains.set(subject, work);
    this.#running.add(work);
    void work.then(() => {
      this.#running.delete(work);
      if (this.#chains.get(subject) === work) this.#chains.delete(subject);
    });
  }

  async #tryTo(deed: Deed): Promise<void> {
    const { kind } = deed;
    const fromMs = Date.now();
    try {
      const counts = (await this.#do(deed)) ? this.done : this.refused;
      counts[kind] = (counts[kind] ?? 0) + 1;
    } catch (error) {
      this.failures.push(`${JSON.stringify(deed)}: ${error instanceof Error ? error.message : error}`);
    }
    if ("node" in deed && !kind.endsWith("pod"))
      this.windows.push({ kind, node: deed.node, fromMs, toMs: Date.now() });
  }

  /** False if the product said that it cannot be done now. */
  async #do(deed: Deed): Promise<boolean> {
    const { nodes, agents, lab } = this.cluster;
    switch (deed.kind) {
      case "start-pod":
        await this.#startPod(deed);
        return true;
      case "end-pod":
        return this.#endPod(deed.pod, deed.node);
      case "kill-agent":
      case "restart-agent":
        await (deed.kind === "kill-agent" ? agents[deed.node].kill() : agents[deed.node].stop());
        await Bun.sleep(deed.ms);
        agents[deed.node] = await this.cluster.startAgent(nodes[deed.node]);
        return true;
      case "freeze-agent":
        agents[deed.node].freeze();
        await Bun.sleep(deed.ms);
        agents[deed.node].thaw();
        return true;
      case "rotate-keys":
        // A node whose keys are being rotated refuses, and one whose agent is away.
        return (await nodes[deed.node].wg(["key", "rotate"])).exitCode === 0;
      case "hide-records":
        await this.cluster.hideRecords();
        await Bun.sleep(deed.ms);
        await this.cluster.showRecords();
        return true;
      case "flap-link":
        lab.wire.must(["ip", "link", "set", nodes[deed.node].name, "down"]);
        await Bun.sleep(deed.ms);
        lab.wire.must(["ip", "link", "set", nodes[deed.node].name, "up"]);
        return true;
      case "damage":
        return nodes[deed.node].exec(["sh", "-c", damages[deed.damage]]).exitCode === 0;
    }
  }

  async #startPod({ pod: number, node: at, visits }: Extract<Deed, { kind: "start-pod" }>): Promise<void> {
    const { nodes, pods } = this.cluster;
    const pod = nodes[at].pod(`s${number}`);
    this.#pods.set(number, pod);
    await nodes[at].runtime.add(list, pod);
    if (visits === undefined) return;
    const fromMs = Date.now();
    const { sent, received } = await ping(pod, pods[visits].ip(4), { count: 1, timeoutSeconds: 3 });
    this.visits += sent;
    if (received < sent)
      this.losses.push({
        ...{
          flow: `${pod.label} visits ${pods[visits].label}`,
          nodes: [at, visits],
          packets: sent - received,
        },
        ...{ fromMs, toMs: fromMs },
      });
  }

  async #endPod(number: number, at: NodeIndex): Promise<boolean> {
    const pod = this.#pods.get(number);
    // It could not be made, which was reported.
    if (pod === undefined) return false;
    this.#pods.delete(number);
    await this.cluster.nodes[at].runtime.del(list, pod);
    pod.remove();
    return true;
  }
}

/** Deeds with one subject wait for each other. */
function subjectOf(deed: Deed): string {
  switch (deed.kind) {
    case "start-pod":
    case "end-pod":
      return `pod ${deed.pod}`;
    case "kill-agent":
    case "restart-agent":
    case "freeze-agent":
      return `agent ${deed.node}`;
    case "flap-link":
      return `link ${deed.node}`;
    case "hide-records":
      return "records";
    case "rotate-keys":
      return `keys ${deed.node}`;
    case "damage":
      return `kernel ${deed.node}`;
  }
}
