// Shows, for each pair of nodes, whether both ports are open for what either node begins: sends port checks
// to the ports of all peers in turn, and keeps the evidence of those that arrive.
import type { Device } from "../net/device.ts";
import type { IpPort } from "../net/ip-port.ts";
import type { Slot } from "../net/record.ts";
import { marksOf } from "../plan/firewall/marks.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import type { PeerObservations } from "../plan/peers/observation.ts";
import { endpointCandidates, ownSlots, usableSlot } from "../plan/peers/path.ts";
import {
  checkPeriodMs,
  findPortGaps,
  joinGraceMs,
  type PortContext,
  type PortEvidences,
  type PortGap,
  placeOf,
  updatePortEvidence,
} from "../plan/report/port-evidence.ts";
import { slotDevice } from "../plan/settings/settings.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import { readPortChecks, sendPortChecks } from "../reconcile/port-checks.ts";
import type { Session } from "../reconcile/session.ts";
import type { Problem } from "../telemetry/problem-log.ts";

/** A pass sends to at most so many peers: about 10 ms of work. */
const maxPeersAtOnce = 256;
/** A new peer may not count yet when the first one arrives, so the first ones follow each other sooner. */
const earlyMs = [0, 2_000, 3_000, 10_000] as const;
/** The agent's page shows at most so many gaps. */
const maxShown = 100;
/** Counters are read this often while something is missing, and with thousands of peers less often. */
const readMs = 5_000;
const readMsPerPeer = 10;
/** While nothing is missing, they are read this often. */
const idleReadMs = 60_000;

interface Turn {
  readonly place: string;
  readonly sent: number;
  readonly dueMs: number;
}

export interface PortObservation {
  readonly observations: PeerObservations;
  /** The devices by name, as the gate has read them. */
  readonly devices: ReadonlyMap<string, Device>;
  readonly nowMs: number;
}

export class PortChecks {
  #evidences: PortEvidences = new Map();
  #gaps: readonly PortGap[] = [];
  #turns: ReadonlyMap<string, Turn> = new Map();
  #peers: readonly OwnedPeer[] = [];
  #dueMs = Number.NEGATIVE_INFINITY;

  /** The ports on which a pair of nodes is not known to work, as of the last pass. */
  get gaps(): readonly PortGap[] {
    return this.#gaps;
  }

  /** True if a handshake with the peer is known to have succeeded on the slot. */
  hadHandshake(peer: string, slot: Slot): boolean {
    return this.#evidences.get(peer)?.[slot]?.hadHandshake === true;
  }

  /** One pass. Throws NetlinkError. */
  run(session: Pick<Session, "kernel">, state: MeshState, observation: PortObservation): void {
    const { settings, node, ownership } = state;
    const { observations, nowMs } = observation;
    if (!state.up) return;
    const context = { settings, node, peers: ownership.peers, observations, nowMs };
    this.#send(context, observation.devices);
    this.#update(session, context);
  }

  /** The gaps that a person is shown. */
  get shown(): readonly PortGap[] {
    return this.#gaps.slice(0, maxShown);
  }

  /** The gaps that have lasted, each with a sentence, for the log. */
  problems(): ReadonlyMap<string, Problem> {
    const lasting = this.#gaps.filter(({ isLasting }) => isLasting);
    return new Map(
      lasting.map(({ peer, port, direction }) => {
        const name = names[direction];
        return [`${peer} ${port}`, { message: name, name, level: "info" as const, fields: { peer, port } }];
      }),
    );
  }

  #send(context: PortContext, devices: ReadonlyMap<string, Device>): void {
    const { settings, peers, nowMs } = context;
    const turns = new Map<string, Turn>();
    const targets: IpPort[] = [];
    let left = maxPeersAtOnce;
    let endpoints: ((peer: OwnedPeer) => IpPort[]) | undefined;
    for (const peer of peers) {
      const place = placeOf(peer);
      const known = this.#turns.get(peer.name);
      const turn = known?.place === place ? known : { place, sent: 0, dueMs: nowMs };
      const isDue = turn.dueMs <= nowMs && left > 0;
      if (isDue) {
        left--;
        endpoints ??= endpointsOf(context, devices);
        targets.push(...endpoints(peer));
      }
      turns.set(peer.name, isDue ? next(turn, peers.length, nowMs) : turn);
    }
    this.#turns = turns;
    sendPortChecks(targets, marksOf(settings.fwmark).outside.mark);
  }

  /** Reading and judging thousands of peers takes a while, so it is not done in each pass. */
  #update(session: Pick<Session, "kernel">, context: PortContext): void {
    const { settings, peers, nowMs } = context;
    const isNew = peers !== this.#peers && peers.some(({ name }) => !this.#evidences.has(name));
    this.#peers = peers;
    if (!isNew && nowMs < this.#dueMs) return;
    const counters = readPortChecks(settings, session.kernel);
    this.#evidences = updatePortEvidence(this.#evidences, context, counters);
    this.#gaps = findPortGaps(this.#evidences, context, counters !== undefined);
    const againMs =
      isNew || this.#gaps.length > 0 ? Math.max(readMs, readMsPerPeer * peers.length) : idleReadMs;
    this.#dueMs = nowMs + (isNew ? Math.min(againMs, readMs + joinGraceMs(peers.length)) : againMs);
  }
}

const names = {
  both: "no handshake with the peer has succeeded on a UDP port",
  in: "no port check from the peer has arrived on a UDP port of this node",
} as const;

function next(turn: Turn, peers: number, nowMs: number): Turn {
  const sent = turn.sent + 1;
  return { ...turn, sent, dueMs: nowMs + (earlyMs[sent] ?? checkPeriodMs(peers)) };
}

/** Finds where a peer's ports are: where its devices' packets go, or else where its record says. */
function endpointsOf(
  { settings, node }: PortContext,
  devices: ReadonlyMap<string, Device>,
): (peer: OwnedPeer) => IpPort[] {
  const known = new Map<string, IpPort>();
  for (const slot of ownSlots(node))
    for (const { publicKey, endpoint } of devices.get(slotDevice(settings, slot))?.peers ?? [])
      if (endpoint !== undefined) known.set(publicKey, endpoint);
  return (peer) =>
    ownSlots(node).flatMap((slot) => {
      const record = usableSlot(peer, slot);
      if (record === undefined) return [];
      const [ip] = endpointCandidates(node, peer);
      const endpoint =
        known.get(record.publicKey) ?? (ip === undefined ? undefined : { ip, port: record.port });
      return endpoint === undefined ? [] : [endpoint];
    });
}
