// Reads what our nftables table has counted outside the tunnel, and adds it to what the store knows.
import { netnsCookie } from "../linux/netns.ts";
import type { NftCounter } from "../net/nftables.ts";
import type { PlaintextEvidence, PlaintextRecord } from "../net/plaintext.ts";
import { countingSets, families, interfaceSets, transitSet } from "../plan/firewall/sets.ts";
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
  type PlaintextJudge,
  type PlaintextNews,
} from "../plan/report/plaintext-evidence.ts";
import { listRefused, type RefusedPackets, refusedSets } from "../plan/report/refused-sources.ts";
import type { Store } from "../state/store.ts";
import type { Kernel } from "./kernel.ts";
import type { MeshState } from "./mesh-plan.ts";

const table = { family: "inet", name: firewallName } as const;

/** Reading the rest takes time: there are thousands of elements in each set. */
const transitSets = families.map(transitSet);
const ofPlaintext = new Set<string>([
  ...countingSets.map(({ name }) => name),
  ...transitSets,
  ...interfaceSets,
  ...refusedSets,
]);
const isOfPlaintext = (set: string) => ofPlaintext.has(set);

export interface Arrivals {
  readonly byInterface: readonly InterfaceArrivals[];
  readonly strayPackets: readonly StrayPackets[];
}

export interface PlaintextReading extends FoldedPlaintext, Arrivals {
  /** Packets that each peer has sent through this node to others, outside the tunnel; none in strict mode. */
  readonly transit: ReadonlyMap<string, number>;
  /** Packets of the last minute that the peers do not take out of the tunnel, or would not. */
  readonly refused: RefusedPackets;
}

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
  judge: PlaintextJudge = { isProtected: protectedByIntent(state) },
): PlaintextReading {
  const handle = firewall?.handle(table);
  const counters = handle === undefined ? new Map() : (firewall?.counters(table, isOfPlaintext) ?? new Map());
  const reading = {
    // A handle is unique in a network namespace, and that in a boot.
    ...(handle === undefined ? {} : { table: `${bootId} ${netnsCookie() ?? ""} ${handle}` }),
    ...{ counters, nowMs },
  };
  const remotes = remotesOf(state.ownership.peers);
  const isDropping = state.settings.mode === "strict";
  return {
    ...foldPlaintext(store.plaintext(), reading, { remotes, isDropping, ...judge }),
    transit: sumTransit(state.ownership.peers, counters),
    refused: listRefused(state.ownership.peers, counters),
    byInterface: listArrivals(counters),
    strayPackets: listStrayPackets(counters),
  };
}

/** Reads only the packets of the last minute that peers do not take out of the tunnel. Throws NetlinkError, SysError. */
export function readRefused({ ownership }: MeshState, { firewall }: Kernel): RefusedPackets {
  const counters = firewall?.counters(table, (set) => refusedSets.includes(set)) ?? new Map();
  return listRefused(ownership.peers, counters);
}

function sumTransit(
  peers: readonly OwnedPeer[],
  counters: ReadonlyMap<string, ReadonlyMap<string, NftCounter>>,
): Map<string, number> {
  const packets = new Map(
    transitSets.flatMap((set) =>
      [...(counters.get(set) ?? [])].map(([ip, one]) => [ip, one.packets] as const),
    ),
  );
  if (packets.size === 0) return new Map();
  return new Map(
    peers.map(({ name, nodeIPs }) => [name, nodeIPs.reduce((sum, ip) => sum + (packets.get(ip) ?? 0), 0)]),
  );
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
  ...{ inPackets: 0, outPackets: 0, leakedPackets: 0, droppedPackets: 0 },
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
