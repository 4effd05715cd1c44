// The store remembers whose the counters were of a peer that was removed or has given a prefix up.
import { afterAll, expect, test } from "bun:test";
import { Store } from "../../src/state/store.ts";
import { peer } from "./samples.ts";
import { newStateDir, removeStateDirs } from "./support.ts";

afterAll(removeStateDirs);

const counting = { table: "t1", sinceMs: 1, bases: {} };
const n2 = { ...peer("n2"), podCIDRs: ["10.2.0.0/24", "fd00:2::/64"], nodeIPs: ["192.0.2.2"] };

function open(hasCounted: boolean): Store {
  const store = Store.open(newStateDir(), "b1");
  store.putPeers([n2]);
  if (hasCounted) store.putPlaintext({ counting, peers: new Map() });
  return store;
}

test("a peer that is removed leaves its prefixes and addresses", () => {
  using store = open(true);
  store.removePeer("n2");
  const former = { "10.2.0.0/24": "n2", "fd00:2::/64": "n2", "192.0.2.2": "n2" };
  expect(store.plaintext().counting).toEqual({ ...counting, former });
});

test("a record leaves what the next one has not, and nothing if it has all", () => {
  using store = open(true);
  store.putPeers([{ ...n2, endpoints: ["192.0.2.9"] }]);
  expect(store.plaintext().counting).toEqual(counting);
  store.putPeers([{ ...n2, podCIDRs: ["10.2.0.0/24"] }]);
  expect(store.plaintext().counting).toEqual({ ...counting, former: { "fd00:2::/64": "n2" } });
});

test("before anything was counted, nothing is left", () => {
  using store = open(false);
  store.removePeer("n2");
  expect(store.plaintext()).toEqual({ peers: new Map() });
});

test("a record is read as it was written", () => {
  using store = open(false);
  const counts = { inPackets: 1, outPackets: 2, leakedPackets: 3, droppedPackets: 4 };
  const peers = new Map([["n2", { ...counts, firstAtMs: 5, lastAtMs: 6 }]]);
  store.putPlaintext({ counting, peers });
  expect(store.plaintext()).toEqual({ counting, peers });
});
