// Random meshes from a seed: the same seed gives the same mesh, so that a
// failing case can be run again by its number.

import type { PeerPath } from "../../src/net/path.ts";
import { hostPrefix } from "../../src/net/prefix.ts";
import type { NodeRecord, Slot, SlotState } from "../../src/net/record.ts";
import { desiredMesh } from "../../src/plan/mesh/desired.ts";
import type { Mesh } from "../../src/plan/mesh/model.ts";
import { resolveClaims } from "../../src/plan/peers/claims.ts";
import type { ClaimingPeer } from "../../src/plan/peers/model.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";

export type Random = () => number;

/** mulberry32: small, seedable, good enough to reach the corners. */
export function makeRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const pick = <T>(random: Random, items: readonly T[]): T =>
  items[Math.floor(random() * items.length)] as T;

export const key = (n: number): string =>
  btoa(
    String.fromCharCode(
      ...new Uint8Array(32).fill(0).map((_, i) => (n * 7 + i * (n + 3)) & (i === 31 ? 0x7f : 0xff)),
    ),
  );

export const localRecord: NodeRecord = {
  name: "node-0",
  slots: [
    { slot: "a", publicKey: key(200), port: 51820, state: "active" },
    { slot: "b", publicKey: key(201), port: 51821, state: "active" },
  ],
  endpoints: ["192.0.2.100"],
  nodeIPs: ["192.0.2.100", "2001:db8::100"],
  podCIDRs: ["10.0.0.0/24", "fd00::/64"],
};

const cidrs = [
  "10.1.0.0/24",
  "10.2.0.0/24",
  "10.3.0.0/16",
  "10.3.7.0/24",
  "fd00:1::/64",
  "fd00:2::/64",
  "10.0.0.0/16",
];

/** Up to five peers that contest keys, CIDRs and addresses. */
export function randomPeers(random: Random): ClaimingPeer[] {
  const names = ["node-1", "node-2", "node-3", "node-4", "node-5"].filter(() => random() < 0.7);
  return names.map((name, i) => {
    const states: SlotState[] = ["active", "active", "draining", "withdrawn"];
    const slots = (["a", "b"] as Slot[])
      .filter(() => random() < 0.85)
      .map((slot) => ({
        slot,
        publicKey: key(Math.floor(random() * 12)),
        port: slot === "a" ? 51820 : 51821,
        state: pick(random, states),
      }));
    const nodeIPs = [`192.0.2.${1 + Math.floor(random() * 4)}`, `2001:db8::${1 + i}`].filter(
      () => random() < 0.8,
    );
    const podCIDRs = cidrs.filter(() => random() < 0.3);
    const record: NodeRecord = { name, slots, endpoints: nodeIPs.slice(0, 1), nodeIPs, podCIDRs };
    const claims = [...slots.map((slot) => slot.publicKey), ...podCIDRs, ...nodeIPs.map(hostPrefix)];
    const claimedAt = new Map(claims.map((claim) => [claim, Math.floor(random() * 100)]));
    return { record, claimedAt: () => claimedAt };
  });
}

function randomPaths(random: Random): Map<string, PeerPath> {
  const paths = ["node-1", "node-2", "node-3", "node-4", "node-5"].map((name): [string, PeerPath] => {
    const slot = pick<Slot | undefined>(random, ["a", "b", undefined]);
    const initiate = (["a", "b"] as Slot[]).filter(() => random() < 0.3);
    const path = { candidate: Math.floor(random() * 3), initiate, pinned: random() < 0.2 };
    return [name, slot === undefined ? path : { ...path, slot }];
  });
  return new Map(paths.filter(() => random() < 0.8));
}

/** A desired mesh over random peers, settings and pods. */
export function randomMesh(random: Random): Mesh {
  const settings = parseSettings({
    mode: pick(random, ["permissive", "strict"]),
    clusterCIDRs: random() < 0.5 ? ["10.0.0.0/8"] : [],
    persistentKeepalive: pick(random, [0, 25]),
    napiThreading: random() < 0.3,
  });
  const ownership = resolveClaims(
    { ...localRecord, publicKeys: localRecord.slots.map((slot) => slot.publicKey) },
    randomPeers(random),
  );
  const podIPs = ["10.0.0.5", "10.0.0.6", "fd00::5"].filter(() => random() < 0.5);
  return desiredMesh({
    settings,
    node: localRecord,
    ownership,
    podIPs,
    linkKind: "wireguard",
    mtu: pick(random, [1280, 1420]),
    hasFirewall: random() < 0.8,
    hasConntrack: random() < 0.8,
    uplinks: random() < 0.5 ? [] : ["eth0"],
    changedPeers: new Set(),
    hostEncryption: random() < 0.5,
    ...(random() < 0.5 ? {} : { paths: randomPaths(random) }),
  });
}
