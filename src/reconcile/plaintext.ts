// Reads what our nftables table has counted outside the tunnel, and adds it to what the store knows.
import { netnsCookie } from "../linux/netns.ts";
import type { PlaintextEvidence, PlaintextRecord } from "../net/plaintext.ts";
import { firewallName, remotesOf } from "../plan/mesh/desired.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import {
  type InterfaceArrivals,
  listArrivals,
  listStrayPackets,
  type StrayPackets,
} from "../plan/report/arrivals.ts";
import { intentFor } from "../plan/report/peer-status.ts";
import {
  type FoldedPlaintext,
  foldPlaintext,
  type PlaintextContext,
  type PlaintextNews,
} from "../plan/report/plaintext-evidence.ts";
import type { Store } from "../state/store.ts";
import type { Kernel } from "./kernel.ts";
import type { MeshState } from "./mesh-plan.ts";

const table = { family: "inet", name: firewallName } as const;

export interface Arrivals {
  readonly byInterface: readonly InterfaceArrivals[];
  readonly strayPackets: readonly StrayPackets[];
}

export interface PlaintextReading extends FoldedPlaintext, Arrivals {}

interface Source {
  readonly store: Store;
  readonly kernel: Kernel;
  readonly bootId: string;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

/** Throws NetlinkError, SysError, StoreError. */
export function readPlaintext(
  state: MeshState,
  { store, kernel: { firewall }, bootId, nowMs }: Source,
  isProtected = protectedByIntent(state),
): PlaintextReading {
  const handle = firewall?.handle(table);
  const counters = handle === undefined ? new Map() : (firewall?.counters(table) ?? new Map());
  const reading = {
    // A handle is unique in a network namespace, and that in a boot.
    ...(handle === undefined ? {} : { table: `${bootId} ${netnsCookie() ?? ""} ${handle}` }),
    ...{ counters, nowMs },
  };
  const remotes = remotesOf(state.ownership.peers);
  return {
    ...foldPlaintext(store.plaintext(), reading, { remotes, isProtected }),
    byInterface: listArrivals(counters),
    strayPackets: listStrayPackets(counters),
  };
}

/** Strict mode drops what it counts, so nothing of that has leaked. */
function protectedByIntent(state: MeshState): PlaintextContext["isProtected"] {
  const peers = new Map(state.ownership.peers.map((peer) => [peer.name, peer]));
  return (name) => {
    const peer = peers.get(name);
    if (peer === undefined || state.settings.mode === "strict") return false;
    return intentFor(state, peer).reach === "tunnel";
  };
}

const nothing: PlaintextRecord = {
  ...{ inPackets: 0, outPackets: 0, leakedPackets: 0 },
  ...{ firstAtMs: 0, lastAtMs: 0 },
};

/**
 * A record for each peer of whom something is known: packets, or that there were none. `undated`: packets of
 * which only the number is known; their peers' records have no times.
 */
export function describePlaintext(
  peers: readonly OwnedPeer[],
  evidence: PlaintextEvidence,
  undated: readonly PlaintextNews[],
): Map<string, PlaintextRecord> {
  const counts = evidence.counting?.table !== undefined;
  const isUndated = new Set(undated.map(({ peer }) => peer));
  return new Map(
    peers.flatMap(({ name }) => {
      const record = evidence.peers.get(name) ?? (counts ? nothing : undefined);
      if (record === undefined) return [];
      return [[name, isUndated.has(name) ? { ...record, firstAtMs: 0, lastAtMs: 0 } : record] as const];
    }),
  );
}
