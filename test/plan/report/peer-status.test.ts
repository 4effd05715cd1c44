// The state of a peer in the tunnel, by the age of its last handshake.
import { expect, test } from "bun:test";
import type { Device } from "../../../src/net/device.ts";
import { closedPath } from "../../../src/net/path.ts";
import { hasNoSession } from "../../../src/plan/peers/handshakes.ts";
import { describePeers } from "../../../src/plan/report/peer-status.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { observation, peer, s } from "../peers/gates.ts";
import { localRecord } from "../random.ts";

const nowMs = 1_800_000_000_000;

function stateAt(lastHandshakeMs: number): string | undefined {
  const one = peer();
  const counters = { hasPresharedKey: false, keepaliveSeconds: 0, rxBytes: 0, txBytes: 0, allowedIPs: [] };
  const device: Device = {
    ...{ name: "wg-cni-a", backend: "kernel", listenPort: 51820, fwmark: 0 },
    peers: [{ publicKey: "key-a", lastHandshakeMs, ...counters }],
  };
  const facts = {
    ...{ up: true, settings: parseSettings({}), node: localRecord },
    ownership: { peers: [one], refusals: [] },
    paths: new Map([[one.name, { ...closedPath, slot: "a" as const }]]),
  };
  const reach = new Map([[one.name, { reach: "tunnel" as const, slot: "a" as const }]]);
  const devices = new Map([[device.name, device]]);
  return describePeers(facts as never, nowMs, { devices, reach, plaintext: new Map() })[0]?.state;
}

test.each([
  ["never", 0, "unanswered"],
  ["just now", nowMs, "encrypted"],
  ["at the end of a session", nowMs - 179 * s, "encrypted"],
  ["after a session", nowMs - 180 * s, "idle"],
  ["a little ahead of the clock", nowMs + 4 * s, "encrypted"],
  ["far ahead of the clock, which was set back since", nowMs + 3600 * s, "idle"],
])("a handshake %s", (_, lastHandshakeMs, state) => {
  expect(stateAt(lastHandshakeMs)).toBe(state);
});

test.each([
  ["with a handshake", { handshakeAtMs: nowMs - 60 * s, unansweredSinceMs: nowMs - 60 * s }, false],
  ["that was just asked for one", { unansweredSinceMs: nowMs - 5 * s }, false],
  ["that has not answered in time", { unansweredSinceMs: nowMs - 6 * s }, true],
  ["that nothing was sent to", {}, false],
])("hasNoSession of a slot %s", (_, times, expected) => {
  expect(hasNoSession(observation(times), nowMs)).toBe(expected);
});
