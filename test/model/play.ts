// Does a sequence of actions to a machine and to the model, and compares them after each: what was answered, and what
// other programs see.
import { expect } from "bun:test";
import { waitUntil } from "../lab/wait.ts";
import type { Action, PodName } from "./actions.ts";
import { podNames } from "./actions.ts";
import { exits, expectCode, expectExit, hostOf, liveOf } from "./answers.ts";
import { judgeBurst } from "./burst.ts";
import type { Reply } from "./driver.ts";
import type { Machine } from "./machine.ts";
import { chainedIps, codes, isChained, NodeModel } from "./model.ts";
import { expected, type Observation, observe } from "./observe.ts";
import { peerOf, recordOf } from "./peers.ts";

export interface Played {
  actions: number;
  commands: number;
}

type Of<Name extends Action["do"]> = Extract<Action, { do: Name }>;

/** Plays a sequence, and then takes everything away again. Throws if the node is not as the model says. */
export async function play(machine: Machine, actions: readonly Action[], played: Played): Promise<void> {
  const player = new Player(machine, played);
  for (const action of actions) {
    played.actions++;
    await player.act(action);
    await player.compare();
  }
  await player.end();
}

class Player {
  readonly #model = new NodeModel();

  constructor(
    private readonly machine: Machine,
    private readonly played: Played,
  ) {}

  act(action: Action): Promise<void> {
    switch (action.do) {
      case "add":
        return this.#add(action.pod, action.apart);
      case "del":
        return this.#del(action);
      case "check":
        return this.#check(action.pod);
      case "gc":
        return this.#gc(action.valid);
      case "lose":
        return this.#lose(action.pod);
      case "up":
        return this.#up(action);
      case "down":
        return this.#down();
      case "sync":
        return this.#sync();
      case "import":
        return this.#import(action);
      case "forget":
        return this.#forget(action);
      case "rotate":
        return this.#rotate();
      case "agent":
        return this.#agent(action.runs);
      case "boot":
        return this.#boot(action);
      case "burst":
        return this.#burst(action);
    }
  }

  async #add(pod: PodName, apart: boolean): Promise<void> {
    const model = this.#model;
    // The mesh comes first, whatever becomes of the pod.
    model.repair();
    const offer = isChained(pod) ? chainedIps(pod) : model.offer(pod);
    const free = new Set([...model.free(4, pod), ...model.free(6, pod)]);
    const reply = await this.#call("ADD", pod, apart);
    if (typeof offer === "number") return expectCode(reply, offer);
    expectExit(reply, exits.done);
    const given = liveOf(reply);
    if (offer !== "free") expect(given.ips).toEqual([...offer]);
    else expect(given.ips.every((ip) => free.has(ip))).toBe(true);
    model.added(pod, given);
    this.machine.results.set(pod, JSON.parse(reply.stdout));
  }

  async #del({ pod, told, apart }: Of<"del">): Promise<void> {
    const result = this.machine.results.get(pod);
    const before = isChained(pod)
      ? chainedIps(pod)
      : (result?.ips ?? []).map(({ address }) => hostOf(address));
    expectExit(await this.#call("DEL", pod, apart, told), exits.done);
    this.#model.removed(pod, told ? before : []);
    this.machine.results.delete(pod);
  }

  /** A runtime checks what it has added. */
  async #check(pod: PodName): Promise<void> {
    const result = this.machine.results.get(pod);
    if (result === undefined) return;
    const reply = await this.#call("CHECK", pod, false);
    if (this.#model.unsure.has(pod)) return;
    if (this.#model.isWhole(pod)) expectExit(reply, exits.done);
    else expectCode(reply, codes.checkFailed);
  }

  async #gc(valid: readonly PodName[]): Promise<void> {
    const replies = await this.machine.calls(this.machine.gcCalls(valid), false);
    this.played.commands += replies.length;
    for (const reply of replies) expectExit(reply, exits.done);
    for (const pod of [...this.#model.records.keys()].filter((name) => !valid.includes(name))) {
      this.#model.removed(pod);
      this.machine.results.delete(pod);
    }
  }

  async #lose(pod: PodName): Promise<void> {
    await this.machine.lose(pod);
    this.#model.live.delete(pod);
    if (isChained(pod)) this.#model.unsure.add(pod);
  }

  async #up({ mode }: Of<"up">): Promise<void> {
    const model = this.#model;
    expectExit(await this.#cli(["up", ...this.machine.upArguments, "--mode", mode]), exits.done);
    Object.assign(model, { isKnown: true, isUp: true, mode });
    model.keys = await this.#keys();
    model.synced();
  }

  async #down(): Promise<void> {
    const model = this.#model;
    await this.#agent(false);
    expectExit(await this.#cli(["down"]), model.isKnown ? exits.done : exits.failed);
    if (!model.isKnown) return;
    const wasUp = model.isUp;
    Object.assign(model, { isUp: false, isGated: false });
    if (wasUp) model.synced();
  }

  async #sync(): Promise<void> {
    const { isKnown, isUp } = this.#model;
    expectExit(await this.#cli(["sync"]), isUp ? exits.done : isKnown ? exits.notSo : exits.failed);
    this.#syncIfUp();
  }

  async #import(action: Of<"import">): Promise<void> {
    const peer = peerOf(action);
    const record = JSON.stringify([recordOf(action.peer, peer)]);
    expectExit(await this.#cli(["peer", "import", "-"], record), exits.done);
    this.#model.peers.set(action.peer, peer);
    this.#syncIfUp();
  }

  async #forget({ peer }: Of<"forget">): Promise<void> {
    const isThere = this.#model.peers.delete(peer);
    expectExit(await this.#cli(["peer", "remove", peer]), isThere ? exits.done : exits.usage);
    if (isThere) this.#syncIfUp();
  }

  async #rotate(): Promise<void> {
    const model = this.#model;
    const reply = await this.#cli(["key", "rotate", "--compromised"]);
    expectExit(reply, model.isKnown ? exits.done : exits.failed);
    if (!model.isKnown) return;
    const before = model.keys;
    model.keys = await this.#keys();
    expect(model.keys.filter((key) => before.includes(key))).toEqual([]);
    this.#syncIfUp();
  }

  #syncIfUp(): void {
    if (this.#model.isUp) this.#model.synced();
  }

  async #agent(runs: boolean): Promise<void> {
    const model = this.#model;
    if (!runs) await this.machine.stopAgent();
    model.hasAgent = runs && model.isUp;
    if (!model.hasAgent) return;
    await this.machine.startAgent();
    model.isGated = true;
    model.synced();
  }

  async #boot({ fresh }: Of<"boot">): Promise<void> {
    await this.machine.boot(fresh);
    this.#model.booted(fresh);
    if (fresh !== "id") for (const pod of podNames) if (fresh === "all") this.machine.results.delete(pod);
    // The first use of the store drops what an earlier boot has left.
    expectExit(await this.#cli(["peer", "list"]), exits.done);
  }

  /** Pods that had several calls are taken away after it, whatever came first. */
  async #burst({ calls, sync }: Of<"burst">): Promise<void> {
    const { machine } = this;
    const invocations = calls.map(({ verb, pod }) => machine.podCall(verb, pod));
    const others = sync && this.#model.isUp ? [{ argv: ["sync"] }] : [];
    const replies = await machine.calls([...invocations, ...others], true);
    this.played.commands += replies.length;
    if (others.length > 0) {
      expectExit(replies.at(-1) as Reply, exits.done);
      this.#model.synced();
    }
    const contested = calls.filter(({ pod }, i) => calls.some((other, j) => i !== j && other.pod === pod));
    const single = calls
      .map((call, i) => [call, replies[i] as Reply] as const)
      .filter(([call]) => !contested.includes(call));
    judgeBurst(this.#model, machine.results, single, calls);
    for (const pod of new Set(contested.map((call) => call.pod)))
      await this.#del({ do: "del", pod, told: true, apart: false });
  }

  async #call(verb: "ADD" | "DEL" | "CHECK", pod: PodName, apart: boolean, told = true): Promise<Reply> {
    this.played.commands++;
    // A call beside an agent goes to its plugin server, as a runtime's does.
    const invocations = [this.machine.podCall(verb, pod, told)];
    const [reply] = await this.machine.calls(invocations, apart || this.#model.hasAgent);
    return reply as Reply;
  }

  #cli(argv: readonly string[], stdin = ""): Promise<Reply> {
    this.played.commands++;
    return this.machine.cli(argv, stdin);
  }

  /** The public keys that the node's record has. */
  async #keys(): Promise<string[]> {
    const { stdout } = await this.#cli(["node", "show", "--json"]);
    const { slots } = JSON.parse(stdout) as { slots: readonly { publicKey: string }[] };
    return slots.map(({ publicKey }) => publicKey);
  }

  /** Compares at once; beside an agent, whose passes take a moment, until it is so. */
  async compare(): Promise<void> {
    const model = this.#model;
    const wanted = this.#comparable(expected(model));
    let seen = this.#comparable(await observe(this.machine));
    const isSame = () => Bun.deepEquals(seen, wanted);
    const look = async () => {
      seen = this.#comparable(await observe(this.machine));
      return isSame();
    };
    if (model.hasAgent && !isSame())
      await waitUntil(look, { what: "the node is as the model says" }).catch(() => {});
    expect(seen).toEqual(wanted);
  }

  /** Which routes lead to peers is the gate's decision, which the model leaves out. */
  #comparable(all: Observation): Partial<Observation> {
    if (!this.#model.isGated) return all;
    const { routes: _, throws, ...rest } = all;
    const ours = throws.filter((dst) => !dst.includes("/") || this.#model.throws.has(dst));
    return { ...rest, throws: ours };
  }

  /** Everything is taken away, and nothing is left. */
  async end(): Promise<void> {
    await this.#agent(false);
    for (const pod of podNames) await this.#del({ do: "del", pod, told: true, apart: false });
    await this.#down();
    await this.compare();
    await this.machine.forget();
  }
}
