// What the poll notices: every property of a device and its peers that this node sets, and no property that
// WireGuard itself changes. A part that could not be programmed does not keep the rest from being compared.
import { expect, test } from "bun:test";
import { DriftDetector } from "../../src/agent/drift.ts";
import type { Device, Peer } from "../../src/net/device.ts";
import type { Link } from "../../src/net/objects.ts";
import { emptyMesh, type Mesh } from "../../src/plan/mesh/model.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";
import type { Failure } from "../../src/reconcile/apply.ts";
import type { SyncReport } from "../../src/reconcile/mesh-plan.ts";
import type { DeviceReading } from "../../src/reconcile/observe.ts";

const names = ["wg-cni-a", "wg-cni-b"] as const;
const link: Link = { index: 7, name: "wg-cni-a", kind: "tun", mtu: 1440, up: true, mac: "" };
const wanted = { keepaliveSeconds: 0, hasPresharedKey: false, allowedIPs: ["10.2.0.0/24", "fd00:2::/64"] };
const peers: readonly Peer[] = ["K2", "K3"].map((publicKey) => ({
  ...{ ...wanted, publicKey, endpoint: { ip: "192.0.2.2", port: 51820 } },
  ...{ lastHandshakeMs: 1, rxBytes: 1, txBytes: 1 },
}));
const device: Device = {
  ...{ name: "wg-cni-a", backend: "userspace", publicKey: "K1", listenPort: 51820, fwmark: 8, peers },
};
const mesh: Mesh = {
  ...emptyMesh,
  links: new Map(names.map((name) => [name, link])),
  devices: new Map(
    names.map((name) => [
      name,
      {
        ...{ publicKey: "K1", listenPort: 51820, fwmark: 8 },
        peers: new Map(peers.map((peer) => [peer.publicKey, { ...wanted, lastHandshakeMs: peer.rxBytes }])),
      },
    ]),
  ),
};

function detects(change: Partial<DeviceReading> = {}, failures: readonly Failure[] = []): boolean {
  const drift = new DriftDetector();
  const report = { settings: parseSettings({}), desired: mesh, mtu: { uplinks: [] }, up: true, failures };
  drift.learn(report as unknown as SyncReport);
  return drift.detects({ ...polled({}), ...change });
}

/** The devices with one change to the first. */
function polled(change: Partial<Device>, linkChange: Partial<Link> = {}): DeviceReading {
  return {
    links: names.map((name, i) => ({ ...link, ...(i === 0 ? linkChange : {}), name })),
    devices: new Map(names.map((name, i) => [name, { ...device, ...(i === 0 ? change : {}), name }])),
    writes: 0,
  };
}

const withPeer = (change: Partial<Peer>) =>
  polled({ peers: peers.map((peer, i) => (i === 0 ? { ...peer, ...change } : peer)) });

test.each<[string, DeviceReading]>([
  ["a key", polled({ publicKey: "K9" })],
  ["a port", polled({ listenPort: 40000 })],
  ["a mark", polled({ fwmark: 9 })],
  ["an MTU", polled({}, { mtu: 1300 })],
  ["a link that is down", polled({}, { up: false })],
  ["a device that is gone", { ...polled({}), devices: new Map() }],
  ["a foreign peer", polled({ peers: [...peers, { ...(peers[0] as Peer), publicKey: "K9" }] })],
  ["a peer that is missing", polled({ peers: peers.slice(1) })],
  ["a peer in place of another", withPeer({ publicKey: "K9" })],
  ["allowed IPs that are missing", withPeer({ allowedIPs: ["10.2.0.0/24"] })],
  ["allowed IPs that are too many", withPeer({ allowedIPs: [...wanted.allowedIPs, "10.9.0.0/24"] })],
  ["a keepalive", withPeer({ keepaliveSeconds: 25 })],
  ["a preshared key", withPeer({ hasPresharedKey: true })],
])("the poll notices %s", (_, now) => {
  expect(detects(now)).toBe(true);
});

test.each<[string, DeviceReading]>([
  ["nothing", polled({})],
  ["counters and handshakes", withPeer({ rxBytes: 9, txBytes: 9, lastHandshakeMs: 9 })],
  ["another order", polled({ peers: peers.toReversed() })],
  ["another order of allowed IPs", withPeer({ allowedIPs: wanted.allowedIPs.toReversed() })],
])("the poll takes for no change: %s", (_, now) => {
  expect(detects(now)).toBe(false);
});

test("a step that failed leaves its own object out, and no other", () => {
  const failed = (step: Failure["step"]): Failure[] => [{ step, error: new Error("EPERM") }];
  const onA = failed({ do: "configureDevice", dev: "wg-cni-a", config: {} });
  expect(detects(polled({ listenPort: 1 }), onA)).toBe(false);
  const onB = failed({ do: "configureDevice", dev: "wg-cni-b", config: {} });
  expect(detects(polled({ listenPort: 1 }), onB)).toBe(true);
  const threading = failed({ do: "setThreading", dev: "wg-cni-a", on: true });
  expect(detects(polled({ listenPort: 1 }), threading)).toBe(true);
  const sysctl = failed({ do: "writeSysctl", path: "net/ipv4/conf/wg-cni-a/rp_filter", value: "2" });
  expect(detects(polled({ listenPort: 1 }), sysctl)).toBe(true);
});

test("before the first sync, and while the node is down, nothing is expected", () => {
  expect(new DriftDetector().detects(polled({ listenPort: 1 }))).toBe(false);
});
