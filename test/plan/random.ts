// Random numbers from a seed, so that a failing case can be run again by its number,
// and the record of this node in the tests of plans.

import type { NodeRecord } from "../../src/net/record.ts";

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
