// Node IPs of peers: which ones a handshake has proved, and which address is probed next (plan/peers/probe.ts).
import type { PeerPath } from "../net/path.ts";
import type { NodeRecord } from "../net/record.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { findProofs } from "../plan/peers/node-ip-proof.ts";
import type { PeerObservation, PeerObservations } from "../plan/peers/observation.ts";
import { type Probe, type ProbeMemory, planProbe } from "../plan/peers/probe.ts";
import type { Session } from "../reconcile/session.ts";
import type { EndpointWrites } from "./endpoint-writes.ts";

export interface ProbeRequest {
  readonly node: NodeRecord;
  readonly peer: OwnedPeer;
  /** As the gate has decided. */
  readonly path: PeerPath;
  /** As the store still has it. */
  readonly before: PeerPath;
  readonly observation: PeerObservation;
  /** Absent if every node IP of the peer is proved. */
  readonly unprovenIPs: readonly string[] | undefined;
}

export class NodeIPProofs {
  #memories: ReadonlyMap<string, ProbeMemory> = new Map();

  constructor(
    private readonly session: Session,
    private readonly writes: EndpointWrites,
  ) {}

  /** Stores what the handshakes have proved. Returns the node IPs, by peer, that are still unproved. */
  prove(peers: readonly OwnedPeer[], observations: PeerObservations): ReadonlyMap<string, readonly string[]> {
    const left = new Map<string, readonly string[]>();
    const proofs: { peer: string; ip: string }[] = [];
    for (const { name, unprovenIPs } of peers) {
      if (unprovenIPs === undefined) continue;
      const observation = observations.get(name) ?? {};
      const shown = findProofs(unprovenIPs, observation, (key, atMs) => this.writes.isAfter(key, atMs));
      for (const ip of shown) proofs.push({ peer: name, ip });
      const rest = unprovenIPs.filter((ip) => !shown.includes(ip));
      if (rest.length > 0) left.set(name, rest);
    }
    this.session.store.putNodeIPProofs(proofs);
    return left;
  }

  /** The address of the peer that is probed in this pass. */
  probe({ before, unprovenIPs, ...facts }: ProbeRequest, nowMs: number): Probe {
    if (unprovenIPs === undefined) return {};
    // Before the gate opened, the peer may have been absent: the opening begins a new round.
    const hasOpened = facts.path.slot !== undefined && before.slot === undefined;
    const memory = hasOpened ? undefined : this.#memories.get(facts.peer.name);
    return planProbe({ ...facts, unprovenIPs, ...(memory === undefined ? {} : { memory }) }, nowMs);
  }

  /** Remembers the probes of a pass, by peer. */
  remember(probes: ReadonlyMap<string, Probe>): void {
    const memories = new Map<string, ProbeMemory>();
    for (const [name, { memory }] of probes) if (memory !== undefined) memories.set(name, memory);
    this.#memories = memories;
  }
}

/** The path with the probe. While the gate is closed, the gate itself has decided on which slots to initiate. */
export function withProbe({ probe: _, ...path }: PeerPath, { probe }: Probe, isDisabled: boolean): PeerPath {
  if (probe === undefined) return path;
  // A closed gate initiates on both slots, in an order of its own; in mode off it may initiate on none.
  const isInitiated = (path.slot === undefined && !isDisabled) || path.initiate.includes(probe.slot);
  return { ...path, probe, initiate: isInitiated ? path.initiate : [...path.initiate, probe.slot] };
}
