// The gate at work: reads the devices, lets plan/peers/gate.ts decide for every peer, keeps what it
// decided in the store, and removes a peer from a device if a recovery step adds it again. The next
// sync finds the peer missing, adds it, and makes the routes follow.
import type { Device } from "../net/device.ts";
import type { PeerPath } from "../net/path.ts";
import type { Slot } from "../net/record.ts";
import { askDelayMs, nextAsk } from "../plan/peers/asking.ts";
import { stepGate } from "../plan/peers/gate.ts";
import type { GateDecision, GateEvent, GateState } from "../plan/peers/gate-state.ts";
import type { Lapse, LapsePlan } from "../plan/peers/lapses.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { type Clocks, type PeerObservations, updateObservations } from "../plan/peers/observation.ts";
import { slots, usableSlot } from "../plan/peers/path.ts";
import type { Probe } from "../plan/peers/probe.ts";
import { findReplacedEndpoints, type ReplacedEndpoints } from "../plan/peers/replaced-endpoints.ts";
import { judgeSilence, noSilence, type Silence } from "../plan/peers/silence.ts";
import { isStalled, type Stalls, updateStall } from "../plan/peers/stall.ts";
import { maxAsked } from "../plan/records/record.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import { applySteps, type Failure } from "../reconcile/apply.ts";
import type { DeviceReading } from "../reconcile/observe.ts";
import type { Session } from "../reconcile/session.ts";
import type { GateView } from "../sources/node-view.ts";
import { ClaimContest, type IsGiven } from "./claim-contest.ts";
import type { EndpointWrites } from "./endpoint-writes.ts";
import { GatePaths } from "./gate-paths.ts";
import { NodeIPProofs, withProbe } from "./node-ip-proofs.ts";
import { SlotProofs } from "./slot-proofs.ts";

export interface PeerEvent {
  readonly peer: string;
  readonly event: GateEvent;
}

export interface GateReport {
  readonly events: readonly PeerEvent[];
  /** True if paths changed, so that the mesh must follow. */
  readonly changed: boolean;
  /** True if a peer is missing on a device: the kernel makes no event of that. */
  readonly drifted: boolean;
  /** The endpoints that another process has set since the last pass, as they were before. */
  readonly replacedEndpoints: ReplacedEndpoints;
  /** True if the next pass should come soon. */
  readonly hurry: boolean;
  /** Claims that have passed to another peer in this pass. */
  readonly lapsed: readonly Lapse[];
  /** Names of peers that this node's record asks to initiate a handshake. */
  readonly asks: readonly string[];
  /** The devices and links by which the gate decided. */
  readonly polled: DeviceReading;
  /** Public keys of the peers that were removed from their devices, for the sync to add them again. */
  readonly removed: ReadonlySet<string>;
  readonly failures: readonly Failure[];
}

/** The gate gets these facts about peers from other parts of the agent. */
export interface GateKnowledge {
  readonly isGiven: IsGiven;
  /** True if a handshake with the peer is known to have succeeded on the slot, with whatever keys. */
  readonly hadHandshake: (peer: string, slot: Slot) => boolean;
}

/** The facts that all peers of a pass share. */
interface GatePass {
  readonly view: GateView;
  readonly contest: LapsePlan;
  /** Node IPs, by peer, that no handshake has proved. */
  readonly unprovenIPs: ReadonlyMap<string, readonly string[]>;
  readonly isDisabled: boolean;
  readonly hadHandshake: GateKnowledge["hadHandshake"];
  readonly clocks: Clocks;
}

/** The decision of a pass about one peer. */
interface PeerResult {
  readonly peer: OwnedPeer;
  readonly decision: GateDecision;
  readonly probe: Probe;
  /** The decided path and what is kept beside it. */
  readonly path: PeerPath;
}

export class Gate {
  #observations: PeerObservations = new Map();
  #states: ReadonlyMap<string, GateState> = new Map();
  #stalls: Stalls = {};
  #silence = noSilence;
  readonly #paths: GatePaths;
  readonly #contest = new ClaimContest();
  readonly #proofs: NodeIPProofs;
  readonly #slotProofs = new SlotProofs();

  constructor(
    private readonly session: Session,
    private readonly writes: EndpointWrites,
  ) {
    this.#paths = new GatePaths(session);
    this.#proofs = new NodeIPProofs(session, writes);
  }

  /** The observations of every peer, as the devices have shown them. */
  get observations(): PeerObservations {
    return this.#observations;
  }

  /** The peers that do not answer, and whether this node is the cause. */
  get silence(): Silence {
    return this.#silence;
  }

  /** The stored paths by peer. */
  get paths(): ReadonlyMap<string, PeerPath> {
    return this.#paths.all;
  }

  /** Reads the stored paths anew at the next use, because another process may have changed them. */
  forgetPaths(): void {
    this.#paths.forget();
  }

  /** Takes over the open paths of a node without an agent. True if this was the first time. */
  adopt(view: GateView): boolean {
    return this.#paths.adopt(view);
  }

  /** One pass over all peers. Throws what reading the kernel or writing the store throws. */
  step(view: GateView, { isGiven, hadHandshake }: GateKnowledge, clocks: Clocks): GateReport {
    const { settings, ownership, lapses } = view;
    const { peers } = ownership;
    const polled = this.session.readMesh(settings);
    const devices = devicesBySlot(settings, polled.devices);
    const before = this.#observations;
    const observations = updateObservations(before, peers, devices, view.ownSinceMs, clocks);
    this.#observations = observations;
    this.#stalls = this.#updateStalls(devices, clocks.nowMs);
    const contest = this.#contest.weigh(view, { paths: this.paths, observations, isGiven }, clocks);
    const unprovenIPs = this.#proofs.prove(peers, observations);
    const isDisabled = settings.mode === "off";
    const pass = { view, contest, unprovenIPs, isDisabled, hadHandshake, clocks };
    const results = peers.map((peer) => this.#stepPeer(pass, peer));
    const pathsChanged = this.#paths.keep(new Map(results.map(({ peer, path }) => [peer.name, path])));
    const lapsesChanged = contest.lapses !== lapses;
    if (lapsesChanged) this.session.store.putLapses(contest.lapses);
    // Only now: if the store refuses to write, the next pass decides again, by what was remembered before.
    this.#states = new Map(results.map(({ peer, decision }) => [peer.name, decision.state]));
    this.#silence = this.#judgeSilence(clocks.nowMs);
    this.#slotProofs.keep(new Set(peers.map(({ name }) => name)));
    this.#proofs.remember(new Map(results.map(({ peer, probe }) => [peer.name, probe])));
    // The sync of the same pass adds again what is removed here.
    const isReadded = results.some(({ decision, probe }) => (decision.readd ?? probe.readd) !== undefined);
    return {
      ...{ changed: pathsChanged || lapsesChanged || isReadded, lapsed: contest.come, polled },
      events: results.flatMap(({ peer, decision }) =>
        decision.events.map((event) => ({ peer: peer.name, event })),
      ),
      replacedEndpoints: findReplacedEndpoints(peers, before, observations, (key, endpoint) =>
        this.writes.hasSet(key, endpoint),
      ),
      drifted: peers.some((peer) => this.#isMissing(peer, devices)),
      hurry: results.some((result) => isUrgent(result, isDisabled)),
      asks: results
        .filter(({ path }) => path.asksUntilMs !== undefined)
        .map(({ peer }) => peer.name)
        .slice(0, maxAsked),
      ...this.#remove(settings, results),
    };
  }

  #stepPeer(pass: GatePass, peer: OwnedPeer): PeerResult {
    const { node } = pass.view;
    const { nowMs } = pass.clocks;
    const before = this.#paths.of(peer.name);
    const observation = this.#observations.get(peer.name) ?? {};
    const unprovenIPs = pass.unprovenIPs.get(peer.name);
    const state = this.#states.get(peer.name);
    const decision = stepGate(
      {
        ...{ node, peer, path: before, observation, stalls: this.#stalls, isDisabled: pass.isDisabled },
        ...(state === undefined ? {} : { state }),
        ...{ isWanted: this.#isWanted(pass, peer), hasUnprovenIPs: unprovenIPs !== undefined },
        isAsked: peer.wantsHandshakeFrom?.includes(node.name) === true,
      },
      nowMs,
    );
    const { path } = decision;
    const probe = this.#proofs.probe({ node, peer, path, before, observation, unprovenIPs }, nowMs);
    const annotated = this.#annotate(pass, peer.name, decision);
    const probed = withProbe(annotated, probe, pass.isDisabled);
    const isGateClosed = path.slot === undefined && !pass.isDisabled;
    const lacksHandshake = (slot: Slot) =>
      observation[slot]?.handshakeAtMs === undefined && !pass.hadHandshake(peer.name, slot);
    const proving = this.#slotProofs.add(probed, { node, peer, lacksHandshake }, isGateClosed, nowMs);
    return { peer, decision, probe, path: proving };
  }

  #isWanted({ contest }: GatePass, { name }: OwnedPeer): boolean {
    return contest.wanted.has(name) || this.#silence.witnesses.has(name);
  }

  #updateStalls(devices: Readonly<Partial<Record<Slot, Device>>>, nowMs: number): Stalls {
    return Object.fromEntries(
      slots.flatMap((slot) => {
        const load = this.session.readLoad(devices[slot]);
        return load === undefined ? [] : [[slot, updateStall(this.#stalls[slot], load, nowMs)]];
      }),
    );
  }

  #judgeSilence(nowMs: number): Silence {
    const hasStalled = slots.some((slot) => isStalled(this.#stalls[slot], nowMs));
    return judgeSilence({ states: this.#states, observations: this.#observations, hasStalled });
  }

  /** The path, and until when the peer is asked to initiate a handshake or since when for a sign of life. */
  #annotate({ view, contest, clocks }: GatePass, peer: string, { path, state }: GateDecision): PeerPath {
    const { asksUntilMs: before, contestedSinceMs = clocks.wallMs } = this.#paths.of(peer);
    const silentSinceMs = state.kind === "silent" ? state.silentSinceMs : undefined;
    const { asksUntilMs: _, contestedSinceMs: __, ...bare } = path;
    const rest = contest.asked.has(peer) ? { ...bare, contestedSinceMs } : bare;
    if (before === undefined && silentSinceMs === undefined) return rest;
    const facts = {
      delayMs: askDelayMs(view.node.name, peer, view.ownership.peers.length),
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

  /** Removes the peers that are added again. The sync finds them missing. */
  #remove(settings: Settings, results: readonly PeerResult[]): Pick<GateReport, "removed" | "failures"> {
    const readded = results.flatMap(({ peer, decision, probe }) =>
      [decision.readd, probe.readd].flatMap((slot) => {
        const publicKey = slot === undefined ? undefined : usableSlot(peer, slot)?.publicKey;
        return slot === undefined || publicKey === undefined ? [] : [{ slot, publicKey }];
      }),
    );
    const steps = readded.map(({ slot, publicKey }) => ({
      ...{ do: "configureDevice" as const, dev: slotDevice(settings, slot) },
      config: { peers: [{ publicKey, remove: true }] },
    }));
    const failures = applySteps(steps, this.session.kernel);
    return { removed: new Set(readded.map(({ publicKey }) => publicKey)), failures };
  }
}

/** A probe of a closed gate needs no hurry of its own: the gate waits for a handshake anyway. */
function isUrgent({ decision, probe, path }: PeerResult, isDisabled: boolean): boolean {
  return decision.hurry || (probe.probe !== undefined && (isDisabled || path.slot !== undefined));
}

/** The WireGuard devices of the slots, among all that were read. */
function devicesBySlot(settings: Settings, read: ReadonlyMap<string, Device>): Partial<Record<Slot, Device>> {
  const devices: Partial<Record<Slot, Device>> = {};
  for (const slot of slots) {
    const device = read.get(slotDevice(settings, slot));
    if (device !== undefined) devices[slot] = device;
  }
  return devices;
}
