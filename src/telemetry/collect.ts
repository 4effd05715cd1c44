// Collects the facts for a scrape: the counters of devices and nftables table, and keys and
// rotation from the store. Peers are those of the last sync, because resolving thousands
// of claims again would cost more than the rest.

import { hasNftTable } from "../netlink/nft/presence.ts";
import { describeRotation } from "../plan/keys/rotation.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { describePeers } from "../plan/report/peer-status.ts";
import type { MeshState } from "../reconcile/mesh-plan.ts";
import type { Session } from "../reconcile/session.ts";
import type { Identity } from "../state/model.ts";
import type { KubernetesFacts, RotationSample, ScrapeFacts } from "./facts.ts";

/** `last`: undefined before the first sync; `kubernetes`: present if records are kept in its API. Throws the errors of reading the kernel and the store. */
export function collectFacts(
  session: Session,
  last: MeshState | undefined,
  kubernetes: KubernetesFacts | undefined,
  nowMs: number,
): ScrapeFacts | undefined {
  const { store } = session;
  const identity = store.identity();
  if (identity === undefined || last === undefined) return undefined;
  const applied = store.applied();
  // The kernel tells the agent of changes to the table, and it repairs them at once: its presence says what it does.
  const evidence = session.readEvidence(last, hasNftTable(firewallName) === true);
  return {
    node: identity.name,
    mode: last.settings.mode,
    backend: last.linkKind === "wireguard" ? "kernel" : "userspace",
    peers: describePeers(last, nowMs, evidence),
    arrivals: evidence.arrivals.byInterface,
    strayPackets: evidence.arrivals.strayPackets,
    slots: identity.slots.map(({ fault, ...slot }) => ({ ...slot, state: fault ? "withdrawn" : slot.state })),
    generation: {
      desired: store.generation,
      ...(applied === undefined ? {} : { programmed: applied.generation }),
    },
    keyRotationSeconds: last.settings.keyRotation,
    rotation: readRotation(session, last, identity, nowMs),
    hostEncryption: last.hostEncryption.state,
    refusedClaims: last.ownership.refusals.length,
    rejectedRecords: store.rejectedRecords().length,
    ...(kubernetes === undefined ? {} : { kubernetes }),
  };
}

function readRotation(
  { store }: Session,
  { settings }: MeshState,
  { name, up, slots: keys }: Identity,
  nowMs: number,
): RotationSample {
  const rotation = store.rotation();
  const facts = { name, up, keys, settings, ...(rotation === undefined ? {} : { rotation }) };
  const state = describeRotation(facts, nowMs);
  return {
    phase: "slot" in state ? `${state.phase} ${state.slot}` : state.phase,
    ...(rotation === undefined ? {} : { startedAtMs: rotation.startedAtMs }),
  };
}
