// From counters and wall-clock times to times on the agent's own clock.
import { expect, test } from "bun:test";
import type { Device, Peer } from "../../../src/net/device.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import {
  type PeerObservations,
  type SlotObservation,
  updateObservations,
} from "../../../src/plan/peers/observation.ts";

const peers: OwnedPeer[] = [
  {
    name: "n2",
    slots: [{ slot: "a", publicKey: "key-a", port: 51820, state: "active" }],
    endpoints: ["192.0.2.2"],
    nodeIPs: [],
    podCIDRs: [],
  },
];
const day = 86_400_000;
const wall = 1_800_000_000_000;

/** Reads the device once more, `nowMs` after the start; the wall clock is ahead by `offsetMs`. */
function read(
  before: PeerObservations,
  nowMs: number,
  seen: Partial<Peer>,
  offsetMs = 0,
  publicKey = "own",
): PeerObservations {
  const peer: Peer = {
    ...{ publicKey: "key-a", hasPresharedKey: false, keepaliveSeconds: 0, allowedIPs: [] },
    ...{ lastHandshakeMs: 0, rxBytes: 0, txBytes: 0 },
    ...seen,
  };
  const rest = { name: "wg-cni-a", backend: "kernel", listenPort: 51820, fwmark: 0 } as const;
  const device: Device = { ...rest, publicKey, peers: [peer] };
  return updateObservations(
    before,
    peers,
    { a: device },
    { a: wall - 10_000 },
    { nowMs, wallMs: wall + nowMs + offsetMs },
  );
}
const slotA = (observations: PeerObservations): SlotObservation =>
  observations.get("n2")?.a as SlotObservation;

test("at the first reading a handshake is as old as the wall clock says", () => {
  expect(slotA(read(new Map(), 5000, { lastHandshakeMs: wall + 2000 })).handshakeAtMs).toBe(2000);
});

test("one that was made before this node's key says nothing of it", () => {
  expect(slotA(read(new Map(), 5000, { lastHandshakeMs: wall - 10_001 })).handshakeAtMs).toBeUndefined();
});

test("on a clock that was set back past the making of the key, it counts all the same", () => {
  const first = read(new Map(), 5000, { lastHandshakeMs: wall - day + 2000 }, -day);
  expect(slotA(first).handshakeAtMs).toBe(2000);
});

test("one from the future was made just now: the clock was set back", () => {
  expect(slotA(read(new Map(), 5000, { lastHandshakeMs: wall + day })).handshakeAtMs).toBe(5000);
});

test.each([day, -day])("a clock that is stepped by %d ms changes no age", (offsetMs) => {
  const first = read(new Map(), 1000, { lastHandshakeMs: wall });
  expect(slotA(read(first, 2000, { lastHandshakeMs: wall }, offsetMs)).handshakeAtMs).toBe(0);
  const again = read(first, 3000, { lastHandshakeMs: wall + offsetMs + 2900 }, offsetMs);
  expect(slotA(again).handshakeAtMs).toBe(3000);
});

test("another key of our own needs another handshake", () => {
  const first = read(new Map(), 1000, { lastHandshakeMs: wall });
  const rekeyed = read(first, 2000, { lastHandshakeMs: wall }, 0, "own-2");
  expect(slotA(rekeyed).handshakeAtMs).toBeUndefined();
  expect(slotA(read(rekeyed, 3000, { lastHandshakeMs: wall }, 0, "own-2")).handshakeAtMs).toBeUndefined();
  expect(slotA(read(rekeyed, 4000, { lastHandshakeMs: wall + 3500 }, 0, "own-2")).handshakeAtMs).toBe(4000);
});

test("a handshake with the new key may come before the next reading", () => {
  const first = read(new Map(), 1000, { lastHandshakeMs: wall });
  expect(slotA(read(first, 2000, { lastHandshakeMs: wall + 1500 }, 0, "own-2")).handshakeAtMs).toBe(1500);
  expect(
    slotA(read(first, 2000, { lastHandshakeMs: wall - 10_001 }, 0, "own-2")).handshakeAtMs,
  ).toBeUndefined();
});

test("a peer that was taken off and put on again has had no handshake", () => {
  const first = read(new Map(), 1000, { lastHandshakeMs: wall, rxBytes: 1000 });
  const again = slotA(read(first, 2000, { lastHandshakeMs: 0, rxBytes: 148 }));
  expect(again.handshakeAtMs).toBeUndefined();
});

test.each([
  ["a keepalive", 32, "heard"],
  ["a handshake's first message, which is sent again where our answer does not arrive", 148, ""],
  ["two of them", 296, ""],
  ["its answer", 92, "heard"],
  ["the first message with a keepalive", 180, "heard"],
  ["the smallest packet", 64, "heard, data"],
  ["a ping", 128, "heard, data"],
])("%s came in, %d bytes: %s", (_name, bytes, what) => {
  const first = read(new Map(), 1000, { rxBytes: 5000 });
  const next = slotA(read(first, 2000, { rxBytes: 5000 + bytes }));
  expect(next.heardAtMs).toBe(what.includes("heard") ? 2000 : undefined);
  expect(next.dataAtMs).toBe(what.includes("data") ? 2000 : undefined);
});

test.each([
  ["a keepalive", 32, false],
  ["two of them", 64, false],
  ["a handshake's first message", 148, true],
  ["its answer", 92, true],
  ["a ping", 128, true],
])("%s went out, %d bytes: to be answered %p", (_name, bytes, isAnswered) => {
  const first = read(new Map(), 1000, { txBytes: 5000 });
  const next = read(first, 2000, { txBytes: 5000 + bytes });
  expect(slotA(next).unansweredSinceMs).toBe(isAnswered ? 2000 : undefined);
});

test("unanswered is since the first, until the peer is heard", () => {
  const first = read(new Map(), 1000, {});
  const second = read(first, 2000, { txBytes: 128 });
  const third = read(second, 3000, { txBytes: 256 });
  expect(slotA(third).unansweredSinceMs).toBe(2000);
  const tried = read(third, 4000, { txBytes: 256, rxBytes: 148 });
  expect(slotA(tried).unansweredSinceMs).toBe(2000);
  const heard = read(tried, 5000, { txBytes: 384, rxBytes: 180 });
  expect(slotA(heard).unansweredSinceMs).toBeUndefined();
  expect(slotA(read(heard, 6000, { txBytes: 512, rxBytes: 180 })).unansweredSinceMs).toBe(6000);
});

test("times stay when nothing happens, and sending is not hearing", () => {
  const first = read(new Map(), 1000, {});
  const second = read(first, 2000, { txBytes: 148 });
  const third = slotA(read(second, 3000, { txBytes: 148 }));
  expect([third.sentAtMs, third.heardAtMs, third.dataAtMs]).toEqual([2000, undefined, undefined]);
});

test("an endpoint that another process sets is seen, and is not where the last handshake came from", () => {
  const endpoint = { ip: "192.0.2.2", port: 51820 };
  const first = read(new Map(), 1000, { lastHandshakeMs: wall, endpoint });
  expect(read(first, 2000, { lastHandshakeMs: wall, endpoint: { ...endpoint } }).get("n2")?.a).toBe(
    slotA(first),
  );
  const set = { ip: "203.0.113.9", port: 51820 };
  expect(slotA(read(first, 3000, { lastHandshakeMs: wall, endpoint: set }))).toEqual({
    ...slotA(first),
    endpoint: set,
  });
});
