// A node that is well, as facts; tests change one thing of it.

import type { Facts, FileFacts, KernelFacts, NodeFacts } from "../../src/doctor/facts.ts";
import type { Level } from "../../src/doctor/finding.ts";
import type { FileStatus } from "../../src/linux/file.ts";
import type { Route } from "../../src/net/objects.ts";
import { fullCapabilities } from "../../src/plan/mesh/capabilities.ts";
import { emptyMesh, type Mesh } from "../../src/plan/mesh/model.ts";
import type { PeerStatus } from "../../src/plan/report/peer-status.ts";
import { parseSettings } from "../../src/plan/settings/settings.ts";
import type { MeshPlan } from "../../src/reconcile/mesh-plan.ts";
import type { Identity } from "../../src/state/model.ts";
import { plaintextOf } from "../plan/report/plaintext.ts";

export const nowMs = Date.UTC(2030, 0, 2);
export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;

const key = (n: number) => Buffer.alloc(32, n).toString("base64");

export const identity: Identity = {
  name: "n1",
  endpoints: ["192.0.2.1"],
  endpointsFound: true,
  nodeIPs: ["192.0.2.1"],
  nodeIPsFollow: true,
  podCIDRs: ["10.1.0.0/24"],
  slots: (["a", "b"] as const).map((slot, i) => ({
    ...{ slot, createdAtMs: nowMs - hourMs, publicKey: key(i + 1), state: "active" as const },
    sealedPrivateKey: new Uint8Array(),
  })),
  up: true,
};

export const settings = parseSettings({});

const link = { kind: "wireguard", mtu: 1440, up: true };
const mesh: Mesh = {
  ...emptyMesh,
  links: new Map([
    ["wg-cni-a", link],
    ["wg-cni-b", link],
  ]),
};
const mtu = {
  bytes: 1440,
  reason: "eth0 towards 192.0.2.2 (node n2) has 1500, less 60 for the tunnel",
  uplinks: [{ dev: "eth0", mtu: 1500 }],
};

const record = {
  name: "n1",
  slots: identity.slots.map(({ slot, publicKey, state }) => ({ slot, publicKey, state, port: 51820 })),
  endpoints: identity.endpoints,
  nodeIPs: identity.nodeIPs,
  podCIDRs: identity.podCIDRs,
};
const ownership = {
  peers: [
    {
      ...{ name: "n2", slots: [], endpoints: ["192.0.2.2"], nodeIPs: ["192.0.2.2"] },
      podCIDRs: ["10.2.0.0/24"],
    },
  ],
  refusals: [],
};

export const plan: MeshPlan = {
  ...{ settings, node: record, ownership, podIPs: [], linkKind: "wireguard" },
  facts: {
    ...{ settings, node: record, ownership, podIPs: [], linkKind: "wireguard", mtu: 1440, hasFirewall: true },
    ...{ changedPeers: new Set(), hostEncryption: false, hasConntrack: true, uplinks: ["eth0"] },
  },
  ...{
    up: true,
    appliedToThisKernel: true,
    generation: 7,
    desired: mesh,
    observed: mesh,
    steps: [],
    damage: [],
    mtu,
  },
  ...{ capabilities: fullCapabilities, unsupported: {}, missingCapabilities: [] },
  hostEncryption: { state: "off", text: "off: the nodes themselves reach each other in plaintext" },
  refusedCIDRs: [],
  tunneledHosts: new Set(),
  faults: new Map(),
};

export const peer: PeerStatus = {
  ...{ name: "n2", state: "encrypted", reach: "tunnel", slot: "a", endpoint: "192.0.2.2:51820" },
  intent: { reach: "tunnel", slot: "a" },
  ...{ lastHandshakeMs: nowMs - minuteMs, rxBytes: 1000, txBytes: 1000, nodeIPs: ["192.0.2.2"] },
  ...{ podCIDRs: ["10.2.0.0/24"], plaintext: plaintextOf(0, 0) },
};

const file: FileStatus = { identity: "1:2:3", kind: "file", mode: 0o600, uid: 0, sizeBytes: 4096 };

export const files: FileFacts = {
  stateDir: "/var/lib/wg-cni",
  directory: { ...file, kind: "directory", mode: 0o700 },
  database: file,
  space: { freeBytes: 2 ** 30, freeFiles: 100_000 },
};

export const node: NodeFacts = {
  ...{ settings, overrides: {}, identity, gated: true, agent: { state: "running" }, isOfOtherMachine: false },
  ...{ rejectedRecords: [], devicesWithoutIdentity: [] },
  rotation: { phase: "scheduled", nextAtMs: nowMs + 20 * hourMs },
};

export const address = { scope: "global", noPrefixRoute: false, noDad: false } as const;

const refused = { sources: new Map(), peers: [] };

export const kernel: KernelFacts = {
  ...{
    plan,
    peers: [peer],
    arrivals: [],
    refused,
    hasKernelWireGuard: true,
    hasFirewall: true,
    derivedMtu: mtu,
  },
  conflicts: [],
  faults: [],
  bypassRules: [],
  markRules: [],
  pods: [{ pod: "eth0 of container c0ffee", bytes: 1440, byConfiguration: false }],
  localPods: { earlier: [], unknown: [] },
  podLinks: { standalone: 1, isGuarded: true, forged: 0, open: [] },
  addresses: [{ ...address, dev: "eth0", ip: "192.0.2.1", length: 24 }],
  transport: { endpoints: ["192.0.2.1"], from: "eth0, which has the default route" },
  uplinks: [{ dev: "eth0", mode: 1, validMark: true }],
  forwardingOff: [],
};

export const healthy: Facts = { nowMs, files, node, kernel, failures: [] };

/** One row: the change to a healthy node, the check that sees it, its level, its summary and its remedy. */
export type Case = readonly [
  change: string,
  facts: Facts,
  check: string,
  level: Level,
  summary: RegExp,
  remedy?: RegExp,
];

export const withFiles = (change: Partial<FileFacts>): Facts => ({
  ...healthy,
  files: { ...files, ...change },
});
export const withNode = (change: Partial<NodeFacts>): Facts => ({ ...healthy, node: { ...node, ...change } });
export const withIdentity = (change: Partial<Identity>) => withNode({ identity: { ...identity, ...change } });
export const withKernel = (change: Partial<KernelFacts>): Facts => ({
  ...healthy,
  kernel: { ...kernel, ...change },
});
export const withPlan = (change: Partial<MeshPlan>) => withKernel({ plan: { ...plan, ...change } });
export const withPeer = (change: Partial<PeerStatus>, settings = plan.settings) =>
  withKernel({ plan: { ...plan, settings }, peers: [{ ...peer, ...change }] });
const { rotation: _, ...unrotated } = node;
export const agentless: Facts = {
  ...healthy,
  node: { ...unrotated, gated: false, agent: { state: "absent" } },
};
export const strict = parseSettings({ mode: "strict" });
export const tun = { ...plan, linkKind: "tun" as const };
export const defaultRoute: Route = {
  ...{ family: 4, table: 101, type: "unicast", dst: "0.0.0.0/0", via: "10.0.0.1", dev: "vlan.eth.1" },
  ...{ scope: "global", protocol: 4 },
};
export const rule = { family: 4, action: "lookup", table: 254, invert: false, protocol: 4 } as const;
