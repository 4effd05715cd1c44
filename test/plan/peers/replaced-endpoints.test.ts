// Which changes of an endpoint another process has made: none that a packet of the peer explains, and none that
// this node has made itself.
import { expect, test } from "bun:test";
import type { Endpoint } from "../../../src/net/device.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import type { PeerObservations, SlotObservation } from "../../../src/plan/peers/observation.ts";
import { findReplacedEndpoints } from "../../../src/plan/peers/replaced-endpoints.ts";

const peers: OwnedPeer[] = [
  {
    ...{ name: "n2", endpoints: ["192.0.2.2", "2001:db8::2"], nodeIPs: [], podCIDRs: [] },
    slots: [{ slot: "b", publicKey: "K2", port: 51821, state: "active" }],
  },
];
const roamed: Endpoint = { ip: "198.51.100.7", port: 4000 };
const hand: Endpoint = { ip: "203.0.113.9", port: 51821 };
const seen: SlotObservation = {
  ...{ publicKey: "K2", ownKey: "K1", endpoint: roamed, lastHandshakeMs: 9000, rxBytes: 500, txBytes: 700 },
};

function found(
  change: Partial<SlotObservation>,
  { before = seen, own }: { readonly before?: SlotObservation; readonly own?: Endpoint } = {},
): Endpoint | undefined {
  const observed = (b: SlotObservation): PeerObservations => new Map([["n2", { b }]]);
  return findReplacedEndpoints(
    ...([peers, observed(before), observed({ ...before, ...change })] as const),
    (key, endpoint) => key === "K2" && endpoint === own,
  ).get("K2");
}

test.each<[string, Partial<SlotObservation>]>([
  ["another address", { endpoint: { ...roamed, ip: "203.0.113.9" } }],
  ["another port", { endpoint: { ...roamed, port: 4001 } }],
  ["another address while packets were sent there", { endpoint: hand, txBytes: 900 }],
])("another process has set %s", (_, change) => {
  expect(found(change)).toEqual(roamed);
});

test.each<[string, Partial<SlotObservation>]>([
  ["nothing has changed", { txBytes: 900 }],
  ["the peer has sent a packet", { endpoint: hand, rxBytes: 532 }],
  ["the peer was added again, and counts from zero", { endpoint: hand, rxBytes: 0 }],
  ["a handshake was completed", { endpoint: hand, lastHandshakeMs: 9500 }],
  ["the peer has another key", { endpoint: hand, publicKey: "K3" }],
  ["the record of the peer names it", { endpoint: { ip: "192.0.2.2", port: 51821 } }],
  ["the record of the peer names it second", { endpoint: { ip: "2001:db8::2", port: 51821 } }],
])("nothing is replaced if %s", (_, change) => {
  expect(found(change)).toBeUndefined();
});

test("a port that the record does not name for the slot was set by another process", () => {
  expect(found({ endpoint: { ip: "192.0.2.2", port: 51820 } })).toEqual(roamed);
});

test("this agent's own writes are not another process's", () => {
  expect(found({ endpoint: hand }, { own: hand })).toBeUndefined();
});

test("a peer without an endpoint before has none to return to", () => {
  const { endpoint: _, ...before } = seen;
  expect(found({ endpoint: hand }, { before })).toBeUndefined();
});
