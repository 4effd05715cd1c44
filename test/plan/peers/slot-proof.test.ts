// When a slot without any handshake is tried, beside the one that carries the traffic.
import { expect, test } from "bun:test";
import { closedPath, type PeerPath } from "../../../src/net/path.ts";
import type { NodeRecord, Slot, SlotState } from "../../../src/net/record.ts";
import { type SlotProofFacts, slotToProve } from "../../../src/plan/peers/slot-proof.ts";

const s = 1000;
const slot = (name: Slot, key: string, state: SlotState = "active") => ({
  ...{ slot: name, publicKey: `${key}${name}`, port: 51820, state },
});
const node: NodeRecord = {
  ...{ name: "n1", slots: [slot("a", "A"), slot("b", "A")], podCIDRs: [] },
  ...{ endpoints: ["192.0.2.1"], nodeIPs: [] },
};
const peer = { ...node, name: "n2", slots: [slot("a", "B"), slot("b", "B")] };
const path: PeerPath = { ...closedPath, slot: "a" };
const lacks =
  (...those: readonly Slot[]) =>
  (one: Slot) =>
    those.includes(one);

test.each<[string, Partial<SlotProofFacts>, number, Slot | undefined]>([
  ["at once", {}, 0, "b"],
  ["for 30 s", {}, 29 * s, "b"],
  ["not in the pause", {}, 31 * s, undefined],
  ["again after a minute", {}, 61 * s, "b"],
  ["after ten minutes seldom", {}, 661 * s, undefined],
  ["and again", {}, 1201 * s, "b"],
  ["never once it had one", { lacksHandshake: lacks() }, 0, undefined],
  ["not the slot that carries the traffic", { lacksHandshake: lacks("a") }, 0, undefined],
  ["either one in mode off", { path: closedPath, lacksHandshake: lacks("a") }, 0, "a"],
  ["not if the gate makes both", { path: closedPath, lacksHandshake: lacks("a", "b") }, 0, undefined],
  ["not during recovery", { path: { ...path, pinned: true } }, 0, undefined],
  [
    "not during a rotation",
    { peer: { ...peer, slots: [slot("a", "B", "draining"), slot("b", "B")] } },
    0,
    undefined,
  ],
  [
    "later if the peer's key is the lesser",
    { node: { ...node, slots: [slot("a", "C"), slot("b", "C")] } },
    0,
    undefined,
  ],
  ["then after half a second", { node: { ...node, slots: [slot("a", "C"), slot("b", "C")] } }, 500, "b"],
])("%s", (_name, change, ageMs, expected) => {
  const facts = { node, peer, path, lacksHandshake: lacks("b"), sinceMs: 1000 * s, ...change };
  expect(slotToProve(facts, facts.sinceMs + ageMs)).toBe(expected as Slot);
});
