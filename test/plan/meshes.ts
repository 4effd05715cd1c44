// Arbitrary meshes for fast-check: peers that contest each other's keys, CIDRs and addresses, under any
// settings. Runs have a fixed seed, so that they are the same each time; a failure prints the smallest
// mesh that shows it.
import fc from "fast-check";
import type { PeerPath } from "../../src/net/path.ts";
import { hostPrefix } from "../../src/net/prefix.ts";
import type { NodeRecord, Slot, SlotState } from "../../src/net/record.ts";
import { desiredMesh } from "../../src/plan/mesh/desired.ts";
import { emptyMesh, type Mesh } from "../../src/plan/mesh/model.ts";
import { resolveClaims } from "../../src/plan/peers/claims.ts";
import type { ClaimingPeer } from "../../src/plan/peers/model.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";
import { key, localRecord } from "./random.ts";

/** The same meshes in each run. */
export const runs = { seed: 20_261_130, numRuns: 200 } as const;

const names = ["node-1", "node-2", "node-3", "node-4", "node-5"];
const bothSlots: Slot[] = ["a", "b"];
const cidrs = [
  "10.1.0.0/24",
  "10.2.0.0/24",
  "10.3.0.0/16",
  "10.3.7.0/24",
  "fd00:1::/64",
  "fd00:2::/64",
  "10.0.0.0/16",
];
/** Two keys, all CIDRs, two addresses. */
const mostClaims = cidrs.length + 4;
const states: SlotState[] = ["active", "active", "draining", "withdrawn"];

const slotRecord = (slot: Slot) =>
  fc.record({
    slot: fc.constant(slot),
    // Few keys, so that two peers often claim the same.
    publicKey: fc.integer({ min: 0, max: 11 }).map(key),
    port: fc.constant(slot === "a" ? 51820 : 51821),
    state: fc.constantFrom(...states),
  });

const claimingPeer = (name: string): fc.Arbitrary<ClaimingPeer> =>
  fc
    .record({
      slots: fc.tuple(slotRecord("a"), slotRecord("b")).chain((slots) => fc.subarray(slots)),
      nodeIPs: fc
        .integer({ min: 1, max: 4 })
        .chain((n) => fc.subarray([`192.0.2.${n}`, `2001:db8::${names.indexOf(name) + 1}`])),
      podCIDRs: fc.subarray(cidrs),
      ages: fc.array(fc.integer({ min: 0, max: 99 }), { minLength: mostClaims, maxLength: mostClaims }),
    })
    .map(({ slots, nodeIPs, podCIDRs, ages }) => {
      const record: NodeRecord = { name, slots, endpoints: nodeIPs.slice(0, 1), nodeIPs, podCIDRs };
      const claims = [...slots.map(({ publicKey }) => publicKey), ...podCIDRs, ...nodeIPs.map(hostPrefix)];
      const claimedAt = new Map(claims.map((claim, i) => [claim, ages[i] as number]));
      return { record, claimedAt: () => claimedAt };
    });

/** Up to five peers. */
export const claimingPeers: fc.Arbitrary<ClaimingPeer[]> = fc
  .subarray(names)
  .chain((chosen) => fc.tuple(...chosen.map(claimingPeer)));

const path: fc.Arbitrary<PeerPath> = fc.record(
  {
    slot: fc.constantFrom(...bothSlots),
    candidate: fc.integer({ min: 0, max: 2 }),
    initiate: fc.subarray(bothSlots),
    pinned: fc.boolean(),
  },
  { requiredKeys: ["candidate", "initiate", "pinned"] },
);

const paths: fc.Arbitrary<ReadonlyMap<string, PeerPath>> = fc
  .subarray(names)
  .chain((chosen) => fc.tuple(...chosen.map((name) => fc.tuple(fc.constant(name), path))))
  .map((entries) => new Map(entries));

const settings = fc
  .record({
    mode: fc.constantFrom("permissive", "strict"),
    clusterCIDRs: fc.constantFrom([], ["10.0.0.0/8"]),
    persistentKeepalive: fc.constantFrom(0, 25),
    napiThreading: fc.boolean(),
  })
  .map(parseSettings);

const everythingButPaths = [
  ...(["settings", "peers", "podIPs", "mtu", "hasFirewall", "hasConntrack", "uplinks"] as const),
  "hostEncryption" as const,
];
const publicKeys = localRecord.slots.map(({ publicKey }) => publicKey);

/** A desired mesh over any peers, settings and pods. */
export const meshes: fc.Arbitrary<Mesh> = fc
  .record(
    {
      settings,
      peers: claimingPeers,
      podIPs: fc.subarray(["10.0.0.5", "10.0.0.6", "fd00::5"]),
      mtu: fc.constantFrom(1280, 1420),
      hasFirewall: fc.boolean(),
      hasConntrack: fc.boolean(),
      uplinks: fc.constantFrom([], ["eth0"]),
      hostEncryption: fc.boolean(),
      paths,
    },
    { requiredKeys: everythingButPaths },
  )
  .map(toMesh);

/** As meshes, and now and then none. */
export const meshesOrNone: fc.Arbitrary<Mesh> = fc.oneof(
  { arbitrary: fc.constant(emptyMesh), weight: 1 },
  { arbitrary: meshes, weight: 6 },
);

type MeshChoice = Omit<
  Parameters<typeof desiredMesh>[0],
  "node" | "ownership" | "linkKind" | "changedPeers"
> & {
  readonly peers: readonly ClaimingPeer[];
};

function toMesh({ peers, ...facts }: MeshChoice): Mesh {
  const ownership = resolveClaims({ ...localRecord, publicKeys }, peers);
  const changedPeers = new Set<string>();
  return desiredMesh({ ...facts, node: localRecord, ownership, linkKind: "wireguard", changedPeers });
}

/** The first mesh of the fixed runs that has what a test needs. */
export function findMesh(isWanted: (mesh: Mesh) => boolean): Mesh {
  const found = fc.sample(meshes, runs).find(isWanted);
  if (found === undefined) throw new Error("none of the arbitrary meshes has what the test needs");
  return found;
}
