// Nodes that rotate their keys, without a kernel: the real gate, observations and
// rotation decide, on devices that behave as WireGuard's do where it matters
// here. A session belongs to two keys and ends with either; data without one
// waits for a handshake, and is lost where the two ends do not know each other.
import type { Device, Peer } from "../../../src/net/device.ts";
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import type { NodeRecord, Slot, SlotState } from "../../../src/net/record.ts";
import { planRotation, type RotationChange, type RotationMemory } from "../../../src/plan/keys/rotation.ts";
import { stepGate } from "../../../src/plan/peers/gate.ts";
import type { GateState } from "../../../src/plan/peers/gate-state.ts";
import { type PeerObservations, updateObservations } from "../../../src/plan/peers/observation.ts";
import { resolvePath, slots } from "../../../src/plan/peers/path.ts";
import { pick, type Random } from "../random.ts";

const wallStartMs = 1_700_000_000_000;
/** WireGuard makes a new session after this (REKEY_AFTER_TIME). */
const sessionMs = 120_000;
/** A peer that has received data and sent nothing answers after this (KEEPALIVE_TIMEOUT). */
const answerMs = 10_000;
/** Keys are programmed at once, routes a moment later: the unfavourable order. */
const routeDelayMs = 200;
const drainTimeoutSeconds = 300;

type PerSlot<T> = Record<Slot, T>;
type SimPeer = { -readonly [K in keyof Peer]: Peer[K] };

interface SimDevice {
  key: string;
  readonly peers: Map<string, SimPeer>;
}

export interface SimOptions {
  /** Longest time that a record takes to another node. */
  readonly maxLagMs: number;
  /** How likely a pass is the first one of a new process. */
  readonly restarts: number;
}

export class SimNode {
  keys: PerSlot<{ publicKey: string; state: SlotState; createdAtMs: number }>;
  remaining: readonly Slot[] | undefined;
  rotations = 0;
  readonly undrained: string[] = [];
  readonly devices: PerSlot<SimDevice>;
  readonly known = new Map<string, NodeRecord>();
  readonly inbox: { readonly atMs: number; readonly record: NodeRecord }[] = [];
  published = "";
  paths = new Map<string, PeerPath>();
  routes = new Map<string, Slot | undefined>();
  nextRoutes: { readonly atMs: number; readonly routes: Map<string, Slot | undefined> } | undefined;
  observations: PeerObservations = new Map();
  gate = new Map<string, GateState>();
  memory: RotationMemory | undefined;
  /** When it looks next. */
  passAtMs: number;
  /** When the next keepalive that initiates a handshake is due, by slot and peer. */
  readonly keepalives = new Map<string, number>();
  /** When data that came in is to be answered, by slot and peer. */
  readonly answers = new Map<string, number>();

  constructor(
    readonly name: string,
    newKey: () => string,
    passAtMs: number,
  ) {
    const make = () => ({ publicKey: newKey(), state: "active" as const, createdAtMs: wallStartMs - 60_000 });
    this.keys = { a: make(), b: make() };
    const device = (slot: Slot) => ({ key: this.keys[slot].publicKey, peers: new Map() });
    this.devices = { a: device("a"), b: device("b") };
    this.passAtMs = passAtMs;
  }

  get record(): NodeRecord {
    return {
      name: this.name,
      slots: slots.map((slot) => ({
        slot,
        publicKey: this.keys[slot].publicKey,
        port: slot === "a" ? 51820 : 51821,
        state: this.keys[slot].state,
      })),
      endpoints: ["192.0.2.1"],
      nodeIPs: [],
      podCIDRs: [],
    };
  }
}

export class Simulation {
  nowMs = 0;
  sent = 0;
  lost = 0;
  readonly nodes: SimNode[];
  #keys = 0;

  constructor(
    count: number,
    private readonly random: Random,
    private readonly options: SimOptions,
  ) {
    const newKey = () => this.#newKey();
    this.nodes = Array.from({ length: count }, (_, i) => new SimNode(`n${i}`, newKey, random() * 1000));
    for (const node of this.nodes)
      for (const other of this.nodes) if (other !== node) node.known.set(other.name, other.record);
    for (const node of this.nodes) {
      node.published = JSON.stringify(node.record);
      this.#program(node);
    }
  }

  /** One tick of 100 ms: what is due, then one packet of each talkative pair. */
  tick(talks: (from: SimNode, to: SimNode) => boolean): void {
    this.nowMs += 100;
    for (const node of this.nodes) {
      if (node.nextRoutes !== undefined && node.nextRoutes.atMs <= this.nowMs) {
        node.routes = node.nextRoutes.routes;
        node.nextRoutes = undefined;
      }
      this.#keepAlive(node);
      if (node.passAtMs <= this.nowMs) this.#pass(node);
    }
    for (const from of this.nodes)
      for (const to of this.nodes) if (from !== to && talks(from, to)) this.#sendData(from, to);
  }

  get #wallMs(): number {
    return wallStartMs + this.nowMs;
  }

  #newKey(): string {
    return `key-${this.#keys++}`;
  }

  /** As the agent: records, gate, rotation, programming, publishing. */
  #pass(node: SimNode): void {
    node.passAtMs = this.nowMs + 900 + this.random() * 200;
    if (this.random() < this.options.restarts) {
      node.observations = new Map();
      node.gate = new Map();
      node.memory = undefined;
    }
    const due = node.inbox.filter(({ atMs }) => atMs <= this.nowMs);
    for (const { record } of due) node.known.set(record.name, record);
    node.inbox.splice(0, due.length);
    const isPublished = node.published === JSON.stringify(node.record);
    this.#openGates(node);
    this.#rotate(node, isPublished);
    this.#program(node);
    this.#publish(node);
  }

  #openGates(node: SimNode): void {
    const peers = [...node.known.values()];
    const read = (slot: Slot): Device => ({
      ...{ name: `wg-cni-${slot}`, backend: "kernel" },
      publicKey: node.devices[slot].key,
      listenPort: 0,
      fwmark: 0,
      peers: [...node.devices[slot].peers.values()].map((peer) => ({ ...peer })),
    });
    const since = { a: node.keys.a.createdAtMs, b: node.keys.b.createdAtMs };
    const clocks = { nowMs: this.nowMs, wallMs: this.#wallMs };
    node.observations = updateObservations(
      node.observations,
      peers,
      { a: read("a"), b: read("b") },
      since,
      clocks,
    );
    for (const peer of peers) {
      const state = node.gate.get(peer.name);
      const decision = stepGate(
        {
          isDisabled: false,
          ...{ node: node.record, peer, path: node.paths.get(peer.name) ?? closedPath },
          ...(state === undefined ? {} : { state }),
          observation: node.observations.get(peer.name) ?? {},
        },
        this.nowMs,
      );
      node.paths.set(peer.name, decision.path);
      node.gate.set(peer.name, decision.state);
    }
  }

  #rotate(node: SimNode, published: boolean): void {
    for (let isPublished = published; ; isPublished = false) {
      const { change, memory } = planRotation(
        {
          ...{ name: node.name, up: true },
          keys: slots.map((slot) => ({ slot, ...node.keys[slot] })),
          ...(node.remaining === undefined ? {} : { rotation: { remaining: node.remaining } }),
          settings: {
            keyRotation: 0,
            drainTimeout: drainTimeoutSeconds,
            recordsDir: "/records",
            kubeconfig: "",
          },
        },
        {
          ...{ node: node.record, peers: [...node.known.values()], paths: node.paths },
          ...{ observations: node.observations, isPublished },
        },
        node.memory,
        { nowMs: this.nowMs, wallMs: this.#wallMs },
      );
      node.memory = memory;
      if (change === undefined) return;
      this.#commit(node, change);
    }
  }

  #commit(node: SimNode, change: RotationChange): void {
    if (change.do === "begin") throw new Error("nothing is scheduled here");
    if (change.do === "drain") {
      node.keys[change.slot].state = "draining";
      return;
    }
    node.undrained.push(...change.undrained);
    node.keys[change.slot] = { publicKey: this.#newKey(), state: "active", createdAtMs: this.#wallMs };
    const remaining = node.remaining?.slice(1) ?? [];
    node.remaining = remaining.length === 0 ? undefined : remaining;
    if (remaining.length === 0) node.rotations++;
  }

  #program(node: SimNode): void {
    for (const slot of slots) {
      const device = node.devices[slot];
      if (device.key !== node.keys[slot].publicKey) {
        device.key = node.keys[slot].publicKey;
        // Sessions end with the key; the kernel keeps the time of the last handshake.
        for (const key of device.peers.keys()) this.#sessions.delete(sessionKey(node, slot, key));
      }
      const wanted = new Set<string>();
      for (const { slots: records } of node.known.values()) {
        const key = records.find((record) => record.slot === slot)?.publicKey as string;
        wanted.add(key);
        if (!device.peers.has(key)) device.peers.set(key, newPeer(key));
      }
      for (const key of device.peers.keys())
        if (!wanted.has(key)) {
          device.peers.delete(key);
          this.#sessions.delete(sessionKey(node, slot, key));
        }
    }
    const routes = [...node.known.values()].map((peer) => {
      const { slot } = resolvePath(node.record, peer, node.paths);
      return [peer.name, slot] as const;
    });
    node.nextRoutes = { atMs: this.nowMs + routeDelayMs, routes: new Map(routes) };
  }

  #publish(node: SimNode): void {
    const text = JSON.stringify(node.record);
    if (node.published === text) return;
    node.published = text;
    for (const other of this.nodes) {
      if (other === node) continue;
      // The directory has the newest: what is on its way is replaced.
      const late = other.inbox.findIndex(({ record }) => record.name === node.name);
      const atMs = this.nowMs + this.random() * this.options.maxLagMs;
      if (late >= 0) other.inbox.splice(late, 1);
      other.inbox.push({ atMs, record: node.record });
      other.inbox.sort((x, y) => x.atMs - y.atMs);
    }
  }

  /** Both ends' keys when the session was made, by the node that has it. */
  readonly #sessions = new Map<
    string,
    { readonly own: string; readonly other: string; readonly atMs: number }
  >();

  #keepAlive(node: SimNode): void {
    for (const [id, atMs] of node.answers)
      if (atMs <= this.nowMs) this.#send(node, this.#find(id.slice(2)), id[0] as Slot, 32);
    for (const [name, { initiate }] of node.paths)
      for (const slot of slots) {
        const id = `${slot} ${name}`;
        if (!initiate.includes(slot)) {
          node.keepalives.delete(id);
          continue;
        }
        if ((node.keepalives.get(id) ?? 0) > this.nowMs) continue;
        node.keepalives.set(id, this.nowMs + 5000);
        this.#send(node, this.#find(name), slot, 32);
      }
  }

  #sendData(from: SimNode, to: SimNode): void {
    const slot = from.routes.get(to.name);
    // In plaintext while the gate is closed: not what is looked at here.
    if (slot === undefined) return;
    this.sent++;
    if (!this.#send(from, to, slot, 128)) this.lost++;
  }

  /** True if it arrives. */
  #send(from: SimNode, to: SimNode, slot: Slot, bytes: number): boolean {
    const toKey = from.known.get(to.name)?.slots.find((record) => record.slot === slot)?.publicKey as string;
    const there = from.devices[slot].peers.get(toKey);
    if (there === undefined) return false;
    there.txBytes += bytes;
    from.answers.delete(`${slot} ${to.name}`);
    if (!this.#hasSession(from, slot, toKey) && !this.#handshake(from, to, slot, toKey)) return false;
    const here = to.devices[slot].peers.get(from.devices[slot].key);
    if (here === undefined || to.devices[slot].key !== toKey) return false;
    const theirs = this.#sessions.get(sessionKey(to, slot, from.devices[slot].key));
    if (theirs === undefined) return false;
    here.rxBytes += bytes;
    const id = `${slot} ${from.name}`;
    if (bytes > 32 && !to.answers.has(id)) to.answers.set(id, this.nowMs + answerMs);
    return true;
  }

  #hasSession(node: SimNode, slot: Slot, other: string): boolean {
    const session = this.#sessions.get(sessionKey(node, slot, other));
    return session !== undefined && this.nowMs - session.atMs < sessionMs;
  }

  #handshake(from: SimNode, to: SimNode, slot: Slot, toKey: string): boolean {
    const [fromDevice, toDevice] = [from.devices[slot], to.devices[slot]];
    const here = fromDevice.peers.get(toKey);
    const there = toDevice.peers.get(fromDevice.key);
    if (here === undefined || there === undefined || toDevice.key !== toKey) return false;
    const atMs = this.nowMs;
    this.#sessions.set(sessionKey(from, slot, toKey), { own: fromDevice.key, other: toKey, atMs });
    this.#sessions.set(sessionKey(to, slot, fromDevice.key), { own: toKey, other: fromDevice.key, atMs });
    here.lastHandshakeMs = there.lastHandshakeMs = this.#wallMs;
    here.rxBytes += 92;
    there.rxBytes += 148;
    return true;
  }

  #find(name: string): SimNode {
    return this.nodes.find((node) => node.name === name) as SimNode;
  }
}

function sessionKey(node: SimNode, slot: Slot, other: string): string {
  return `${node.name} ${slot} ${other}`;
}

function newPeer(publicKey: string): SimPeer {
  return {
    publicKey,
    hasPresharedKey: false,
    keepaliveSeconds: 0,
    allowedIPs: [],
    lastHandshakeMs: 0,
    rxBytes: 0,
    txBytes: 0,
  };
}

/** The pairs of nodes that talk to each other: all the time, now and then, hardly ever. */
export function randomTalk(random: Random): (from: SimNode, to: SimNode) => boolean {
  const chances = new Map<string, number>();
  return (from, to) => {
    const id = `${from.name} ${to.name}`;
    const chance = chances.get(id) ?? pick(random, [1, 1, 0.05, 0.004, 0]);
    chances.set(id, chance);
    return random() < chance;
  };
}
