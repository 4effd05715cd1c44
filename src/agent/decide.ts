// The deciding stage of a reconcile pass: the gate decides the path to every peer, and the rotation what
// becomes of this node's keys. Decisions go into the store; the sync programs them.
import type { Slot } from "../net/record.ts";
import { withoutPeers } from "../plan/mesh/damage.ts";
import { ownSlots } from "../plan/peers/path.ts";
import { describeCutOff } from "../plan/peers/silence.ts";
import { readView, type View } from "../sources/node-view.ts";
import type { ProblemLog } from "../telemetry/problem-log.ts";
import type { IsGiven } from "./claim-contest.ts";
import { logLapses } from "./claim-log.ts";
import { logGateEvents } from "./gate-log.ts";
import type { Memory, PassContext } from "./pass-context.ts";

/** Throws StoreError, and what reading the kernel throws. */
export function decide(pass: PassContext): void {
  const { parts, options } = pass;
  const before = resolveView(pass);
  // Before an agent's first decision, the operator's records alone put peers into the tunnel.
  const view = before !== undefined && parts.gate.adopt(before) ? resolveView(pass) : before;
  if (view === undefined) return;
  const clocks = parts.clock.read();
  const isGiven: IsGiven = (peer, claim, kind) => parts.records.isGiven(peer, claim, kind);
  const hadHandshake = (peer: string, slot: Slot) => parts.ports.hadHandshake(peer, slot);
  const gate = parts.gate.step(view, { isGiven, hadHandshake }, clocks);
  forgetRemoved(pass.memory, gate.removed);
  logLapses(options.log, gate.lapsed);
  parts.problems.reportOnChange("cut off", describeCutOff(parts.gate.silence, view.settings));
  const events = gate.events.map(({ event }) => event);
  pass.memory.asks = gate.asks;
  pass.memory.deviceIndexes = new Set(gate.polled.links.map(({ index }) => index));
  reportAsks(parts.problems, gate.asks);
  // A node without a usable slot reaches no peer. That is logged once elsewhere, and no peer is the cause.
  const isOwnLoss = ownSlots(view.node).length === 0;
  if (!isOwnLoss) logGateEvents(options.log, gate.events);
  options.metrics.gateChanged(events);
  for (const { error } of gate.failures) options.log.error(error.message);
  const { ownership, node } = view;
  const rotation = parts.rotation.reconcile(
    {
      ...{ peers: ownership.peers, paths: parts.gate.paths, observations: parts.gate.observations },
      isPublished: parts.records.published === JSON.stringify(node),
    },
    clocks,
  );
  const { replacedEndpoints } = gate;
  options.metrics.rotationWaits(rotation.view.waitingFor.length);
  pass.decision = {
    changed: gate.changed || events.length > 0 || rotation.changed,
    drifted: gate.drifted || replacedEndpoints.size > 0 || parts.drift.detects(gate.polled),
    ...(replacedEndpoints.size === 0 ? {} : { replacedEndpoints }),
    hurry: gate.hurry,
    reading: gate.polled,
  };
  if (rotation.wakeInMs !== undefined) pass.wakesInMs.push(rotation.wakeInMs);
}

/** Resolves the view once for a generation of the store and for the ownership of addresses around this node. */
function resolveView({ session, parts, memory }: PassContext): View | undefined {
  const { nodes } = session;
  const { generation, ownership } = nodes.intent();
  if (memory.view?.generation !== generation || memory.view.ownership !== ownership) {
    memory.view = readView(nodes);
    parts.heap.trim();
    parts.gate.forgetPaths();
  }
  return memory.view;
}

/** A peer that the agent itself has removed is no damage: the sync brings it back. */
function forgetRemoved(memory: Memory, removed: ReadonlySet<string>): void {
  const { programmed } = memory;
  if (programmed !== undefined && removed.size > 0)
    memory.programmed = { ...programmed, mesh: withoutPeers(programmed.mesh, removed) };
}

function reportAsks(problems: ProblemLog, asks: readonly string[]): void {
  const name = "peer answers no handshake of this node";
  const message = `${name}; the record of this node asks the peer to initiate one`;
  problems.reportAllOnChange(
    "asks",
    new Map(asks.map((peer) => [peer, { message, name, fields: { peer } }])),
  );
}
