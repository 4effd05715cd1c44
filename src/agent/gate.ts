// The gate at work: reads the devices, lets plan/peers/gate.ts decide for every peer,
// keeps what it decided in the store, and takes a peer off a device and on again
// if a recovery step says so. The routes follow with the next sync.
import type { Device } from "../net/device.ts";
import { closedPath, type PeerPath } from "../net/path.ts";
import { hostPrefix } from "../net/prefix.ts";
import type { Slot } from "../net/record.ts";
import { askDelayMs, nextAsk } from "../plan/peers/asking.ts";
import { stepGate } from "../plan/peers/gate.ts";
import type { GateDecision, GateEvent, GateFacts, GateState } from "../plan/peers/gate-state.ts";
import { type Lapse, type LapsePlan, planLapses } from "../plan/peers/lapses.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { findProofs } from "../plan/peers/node-ip-proof.ts";
import { type Clocks, type PeerObservations, updateObservations } from "../plan/peers/observation.ts";
import { slots, usableSlot } from "../plan/peers/path.ts";
import { type Probe, type ProbeMemory, planProbe } from "../plan/peers/probe.ts";
import { maxAsked } from "../plan/records/record.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import { applySteps, type Failure } from "../reconcile/apply.ts";
import type { Session } from "../reconcile/session.ts";
import type { Contender, GateView } from "../sources/node-view.ts";
import type { Polled } from "./drift.ts";
import type { EndpointWrites } from "./endpoint-writes.ts";

/** Whether the source of its record gives a peer what it claims. */
export type IsGiven = (peer: Contender, claim: string, kind: "node IP" | "pod CIDR") => boolean;

export interface PeerEvent {
  readonly peer: string;
  readonly event: GateEvent;
}

export interface GateReport {
  readonly events: readonly PeerEvent[];
  /** True where paths were changed, so that the mesh must follow. */
  readonly changed: boolean;
  /** True where a peer is not on a device that it should be on: the kernel tells nobody of that. */
  readonly drifted: boolean;
  /** True where something is being waited for. */
  readonly hurry: boolean;
  /** Claims that have passed to another peer at this look. */
  readonly lapsed: readonly Lapse[];
  /** Names of peers that this node's record asks to begin a handshake. */
  readonly asks: readonly string[];
  /** The devices and links that the decision went by. */
  readonly polled: Polled;
  readonly failures: readonly Failure[];
}

/** A peer that a recovery step takes off a slot's device and puts on again. */
interface Readd {
  readonly peer: OwnedPeer;
  readonly slot: Slot;
}

const nobodyAsked = { come: [], asked: new Set<string>(), wanted: new Set<string>() };

export class Gate {
  #observations: PeerObservations = new Map();
  #states: ReadonlyMap<string, GateState> = new Map();
  #paths: Map<string, PeerPath> | undefined;
  /** Owners of contested claims, and since when this process asks them for a handshake. */
  #askedHereMs: ReadonlyMap<string, number> = new Map();
  #probes: ReadonlyMap<string, ProbeMemory> = new Map();

  constructor(
    private readonly session: Session,
    private readonly writes: EndpointWrites,
  ) {}

  /** What the devices have shown of every peer. */
  get observations(): PeerObservations {
    return this.#observations;
  }

  /** By peer, as stored. */
  get paths(): ReadonlyMap<string, PeerPath> {
    this.#paths ??= this.session.store.paths();
    return this.#paths;
  }

  /** Another process may have changed the paths. */
  forgetPaths(): void {
    this.#paths = undefined;
  }

  /**
   * Takes over from a node without an agent: a peer whose traffic is in the
   * tunnel already stays there, or it would be in plaintext until a handshake. True if it has.
   */
  adopt({ settings, ownership }: GateView): boolean {
    const { store, kernel } = this.session;
    if (store.gated) return false;
    const slotOf = new Map(slots.map((slot) => [slotDevice(settings, slot), slot]));
    const inTunnel = new Map<string, Slot>();
    for (const table of [settings.podTable, settings.hostTable])
      for (const family of [4, 6] as const)
        for (const { dst, dev } of kernel.host.routes({ family, table })) {
          const slot = slotOf.get(dev ?? "");
          if (slot !== undefined) inTunnel.set(dst, slot);
        }
    const adopted = new Map<string, PeerPath>();
    for (const peer of ownership.peers) {
      const prefixes = [...peer.podCIDRs, ...peer.nodeIPs.map(hostPrefix)];
      const slot = prefixes.flatMap((prefix) => inTunnel.get(prefix) ?? [])[0];
      if (slot !== undefined) adopted.set(peer.name, { ...closedPath, slot });
    }
    store.transaction(() => {
      store.setGated(true);
      store.putPaths(adopted, true);
    });
    this.forgetPaths();
    return true;
  }

  /** One look at every peer. Throws what reading the kernel or writing the store throws. */
  step(view: GateView, isGiven: IsGiven, clocks: Clocks): GateReport {
    const { peers } = view.ownership;
    const polled = this.session.readMesh(view.settings);
    const devices = bySlot(view.settings, polled.devices);
    this.#observations = updateObservations(this.#observations, peers, devices, view.ownSinceMs, clocks);
    const contest = this.#weighLapses(view, isGiven, clocks);
    const unshown = this.#proveNodeIPs(peers);
    const probes = new Map<string, ProbeMemory>();
    const changed = new Map<string, PeerPath | undefined>();
    const states = new Map<string, GateState>();
    const events: PeerEvent[] = [];
    const toReadd: Readd[] = [];
    const asks: string[] = [];
    const isHeld = view.settings.mode === "off";
    let hurry = false;
    let drifted = false;
    for (const peer of peers) {
      const { name } = peer;
      const facts = { isWanted: contest.wanted.has(name), hasUnshown: unshown.has(name) };
      const decision = this.#decide(view, peer, facts, clocks.nowMs);
      states.set(name, decision.state);
      const probe = this.#probe(view, peer, decision, unshown.get(name), clocks.nowMs);
      if (probe.memory !== undefined) probes.set(name, probe.memory);
      const noted = this.#annotate(view, name, decision, contest.asked.has(name), clocks);
      const path = withProbe(noted, probe, isHeld);
      if (path.asksUntilMs !== undefined) asks.push(name);
      if (!isSamePath(this.paths.get(name), path)) changed.set(name, path);
      for (const event of decision.events) events.push({ peer: name, event });
      for (const { readd } of [decision, probe]) if (readd !== undefined) toReadd.push({ peer, slot: readd });
      hurry ||= decision.hurry || (probe.probe !== undefined && (isHeld || path.slot !== undefined));
      drifted ||= this.#isMissing(peer, devices);
    }
    for (const name of this.paths.keys()) if (!this.#observations.has(name)) changed.set(name, undefined);
    this.#keep(changed);
    if (contest.lapses !== view.lapses) this.session.store.putLapses(contest.lapses);
    // Not before: what the store refused is decided anew, from what was remembered until now.
    this.#states = states;
    this.#probes = probes;
    const failures = this.#readd(view.settings, toReadd);
    const isChanged = changed.size > 0 || contest.lapses !== view.lapses;
    const lapsed = contest.come;
    const waiting = { hurry, lapsed, asks: asks.slice(0, maxAsked) };
    return { events, changed: isChanged, drifted, ...waiting, failures, polled };
  }

  /** Keeps what the handshakes have shown. Returns the node IPs by peer that nothing has shown yet. */
  #proveNodeIPs(peers: readonly OwnedPeer[]): ReadonlyMap<string, readonly string[]> {
    const left = new Map<string, readonly string[]>();
    const proofs: { peer: string; ip: string }[] = [];
    for (const { name, unshownIPs } of peers) {
      if (unshownIPs === undefined) continue;
      const observation = this.#observations.get(name) ?? {};
      const shown = findProofs(unshownIPs, observation, (key, atMs) => this.writes.isAfter(key, atMs));
      for (const ip of shown) proofs.push({ peer: name, ip });
      const rest = unshownIPs.filter((ip) => !shown.includes(ip));
      if (rest.length > 0) left.set(name, rest);
    }
    this.session.store.putNodeIPProofs(proofs);
    return left;
  }

  #probe(
    { node }: GateView,
    peer: OwnedPeer,
    { path }: GateDecision,
    unshown: readonly string[] | undefined,
    nowMs: number,
  ): Probe {
    if (unshown === undefined) return {};
    // Before the gate opened nobody may have been there to answer: then it is a new round.
    const hasOpened = path.slot !== undefined && this.paths.get(peer.name)?.slot === undefined;
    const memory = hasOpened ? undefined : this.#probes.get(peer.name);
    const observation = this.#observations.get(peer.name) ?? {};
    return planProbe(
      { node, peer, path, observation, unshown, ...(memory === undefined ? {} : { memory }) },
      nowMs,
    );
  }

  /** What the dead may not keep. In mode off nobody is reached by what is claimed, and sessions end. */
  #weighLapses(
    { settings, node, ownership, contested, lapses }: GateView,
    isGiven: IsGiven,
    clocks: Clocks,
  ): LapsePlan {
    if (contested.size === 0 || settings.mode === "off") {
      this.#askedHereMs = new Map();
      return { ...nobodyAsked, lapses };
    }
    const stored = [...this.paths].flatMap(([name, { contestedSinceMs }]) =>
      contestedSinceMs === undefined ? [] : [[name, contestedSinceMs] as const],
    );
    const plan = planLapses(
      {
        ...{ node: node.name, refusals: ownership.refusals, lapses, observations: this.#observations },
        records: new Map([...contested].map(([name, { record }]) => [name, record])),
        ...{ askedSinceMs: new Map(stored), askedHereMs: this.#askedHereMs },
        isGiven: (name, claim, kind) => {
          const peer = contested.get(name);
          return peer !== undefined && isGiven(peer, claim, kind);
        },
      },
      clocks,
    );
    const sinceMs = (name: string) => this.#askedHereMs.get(name) ?? clocks.nowMs;
    this.#askedHereMs = new Map(Array.from(plan.asked, (name) => [name, sinceMs(name)]));
    return plan;
  }

  /** The path, with what is kept beside it: that the peer is asked to begin a handshake, or for a sign of life. */
  #annotate(
    { node, ownership }: GateView,
    peer: string,
    { path, state }: GateDecision,
    isContested: boolean,
    clocks: Clocks,
  ): PeerPath {
    const { asksUntilMs: before, contestedSinceMs = clocks.wallMs } = this.paths.get(peer) ?? closedPath;
    const silentSinceMs = state.kind === "silent" ? state.silentSinceMs : undefined;
    const { asksUntilMs: _, contestedSinceMs: __, ...bare } = path;
    const rest = isContested ? { ...bare, contestedSinceMs } : bare;
    if (before === undefined && silentSinceMs === undefined) return rest;
    const facts = {
      delayMs: askDelayMs(node.name, peer, ownership.peers.length),
      ...(before === undefined ? {} : { asksUntilMs: before }),
      ...(silentSinceMs === undefined ? {} : { silentSinceMs }),
    };
    const asksUntilMs = nextAsk(facts, clocks);
    return asksUntilMs === undefined ? rest : { ...rest, asksUntilMs };
  }

  #isMissing(peer: OwnedPeer, devices: Readonly<Partial<Record<Slot, Device>>>): boolean {
    const observation = this.#observations.get(peer.name);
    const isOn = (slot: Slot) => devices[slot] === undefined || observation?.[slot] !== undefined;
    return slots.some((slot) => !isOn(slot) && usableSlot(peer, slot) !== undefined);
  }

  #decide(
    { node, settings }: GateView,
    peer: OwnedPeer,
    facts: Required<Pick<GateFacts, "isWanted" | "hasUnshown">>,
    nowMs: number,
  ): GateDecision {
    const state = this.#states.get(peer.name);
    return stepGate(
      {
        ...{ node, peer, path: this.paths.get(peer.name) ?? closedPath },
        ...(state === undefined ? {} : { state }),
        ...{ observation: this.#observations.get(peer.name) ?? {}, isDisabled: settings.mode === "off" },
        ...{ ...facts, isAsked: peer.wantsHandshakeFrom?.includes(node.name) === true },
      },
      nowMs,
    );
  }

  /** Before the kernel changes: a gate that is open in the kernel is open in the store. */
  #keep(changed: ReadonlyMap<string, PeerPath | undefined>): void {
    if (changed.size === 0) return;
    const slotChanged = [...changed].some(([name, path]) => this.paths.get(name)?.slot !== path?.slot);
    this.session.store.putPaths(changed, slotChanged);
    this.forgetPaths();
  }

  /** Off and on again; what it is to be on again is the sync's, which finds it missing. */
  #readd(settings: Settings, peers: readonly Readd[]): Failure[] {
    const steps = peers.flatMap(({ peer, slot }) => {
      const key = usableSlot(peer, slot)?.publicKey;
      if (key === undefined) return [];
      const config = { peers: [{ publicKey: key, remove: true }] };
      return [{ do: "configureDevice" as const, dev: slotDevice(settings, slot), config }];
    });
    return applySteps(steps, this.session.kernel);
  }
}

/** While the gate is closed, it has said itself on which slots a handshake is begun. */
function withProbe({ probe: _, ...path }: PeerPath, { probe }: Probe, isHeld: boolean): PeerPath {
  if (probe === undefined) return path;
  // A closed gate has both slots begin, and in an order; a gate that mode off holds asks nobody.
  const isAsked = (path.slot === undefined && !isHeld) || path.initiate.includes(probe.slot);
  return { ...path, probe, initiate: isAsked ? path.initiate : [...path.initiate, probe.slot] };
}

function bySlot(settings: Settings, read: ReadonlyMap<string, Device>): Partial<Record<Slot, Device>> {
  const devices: Partial<Record<Slot, Device>> = {};
  for (const slot of slots) {
    const device = read.get(slotDevice(settings, slot));
    if (device !== undefined) devices[slot] = device;
  }
  return devices;
}

function isSamePath(a: PeerPath | undefined, b: PeerPath): boolean {
  return (
    a !== undefined &&
    a.slot === b.slot &&
    a.candidate === b.candidate &&
    a.pinned === b.pinned &&
    a.asksUntilMs === b.asksUntilMs &&
    a.contestedSinceMs === b.contestedSinceMs &&
    a.probe?.slot === b.probe?.slot &&
    a.probe?.ip === b.probe?.ip &&
    a.initiate.length === b.initiate.length &&
    a.initiate.every((slot, i) => slot === b.initiate[i])
  );
}
