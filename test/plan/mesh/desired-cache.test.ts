// The kept mesh is the one that the facts would give: every fact that changes makes another one.
import { expect, test } from "bun:test";
import { closedPath } from "../../../src/net/path.ts";
import { desiredMesh, type MeshFacts } from "../../../src/plan/mesh/desired.ts";
import { DesiredMeshCache } from "../../../src/plan/mesh/desired-cache.ts";
import type { Mesh } from "../../../src/plan/mesh/model.ts";
import type { OwnedPeer } from "../../../src/plan/peers/model.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";

const peer = (index: number): OwnedPeer => ({
  ...{ name: `n${index}`, endpoints: [`192.0.2.${index}`], nodeIPs: [`192.0.2.${index}`] },
  podCIDRs: [`10.${index}.0.0/24`],
  slots: [{ slot: "a", publicKey: `K${index}`, port: 51820, state: "active" }],
});
const open = { ...closedPath, slot: "a" } as const;
const facts = (): MeshFacts => ({
  settings: parseSettings({}),
  node: { ...peer(1), slots: [{ slot: "a", publicKey: "K1", port: 51820, state: "active" }] },
  ...{ ownership, paths, changedPeers: new Set(), hostEncryption: false, podIPs: ["10.1.0.5"] },
  ...{ linkKind: "tun", mtu: 1420, hasFirewall: true, hasConntrack: true, uplinks: ["eth0"] },
});
const ownership = { peers: [peer(2), peer(3)], refusals: [] };
const paths = new Map([["n2", open]]);

test("equal facts give the same mesh", () => {
  const cache = new DesiredMeshCache();
  const mesh = cache.make(facts());
  expect(cache.make(facts())).toBe(mesh);
  expect(cache.make({ ...facts(), ownership: { ...ownership, refusals: [] } })).toBe(mesh);
});

test.each<[string, Partial<MeshFacts>]>([
  ["another list of peers", { ownership: { peers: [peer(2)], refusals: [] } }],
  ["other paths", { paths: new Map([["n3", open]]) }],
  ["another MTU", { mtu: 1300 }],
  ["another pod", { podIPs: ["10.1.0.6"] }],
  ["another setting", { settings: parseSettings({ mode: "strict", clusterCIDRs: ["10.0.0.0/8"] }) }],
  ["a peer whose record has changed", { changedPeers: new Set(["n2"]) }],
  ["another uplink", { uplinks: ["eth1"] }],
  ["a kernel without nftables", { hasFirewall: false }],
])("%s gives the mesh of these facts", (_, change) => {
  const cache = new DesiredMeshCache();
  const before = cache.make(facts());
  const changed = { ...facts(), ...change };
  const mesh = cache.make(changed);
  expect(mesh).not.toBe(before);
  expect(mesh).toEqual(desiredMesh(changed));
  expect(cache.make(facts())).toEqual(before);
});

test("while one peer changes, another one keeps its part", () => {
  const cache = new DesiredMeshCache();
  const before = cache.make(facts());
  const [, other] = ownership.peers;
  const moved = { ...peer(2), podCIDRs: ["10.9.0.0/24"] };
  const changed = { ...facts(), ownership: { peers: [moved, other], refusals: [] } } as MeshFacts;
  const mesh = cache.make(changed);
  expect(mesh).toEqual(desiredMesh(changed));
  const partsOf = ({ devices, routes }: Mesh) => [
    devices.get("wg-cni-a")?.peers.get("K3"),
    routes.find(({ dst }) => dst === "10.3.0.0/24"),
  ];
  for (const [i, part] of partsOf(mesh).entries()) expect(part).toBe(partsOf(before)[i] as never);
});

test("changes one after the other give the mesh of the last facts", () => {
  const cache = new DesiredMeshCache();
  const variants: Partial<MeshFacts>[] = [
    { changedPeers: new Set(["n2"]) },
    {
      paths: new Map([
        ["n2", open],
        ["n3", open],
      ]),
    },
    { paths: new Map([["n3", { ...closedPath, pinned: true }]]) },
    { ownership: { peers: [peer(3)], refusals: [] } },
    { hostEncryption: true },
    { replacedEndpoints: new Map([["K2", { ip: "192.0.2.9", port: 9 }]]) },
    { node: { ...facts().node, nodeIPs: ["192.0.2.200"] } },
    { capabilities: { tunnel: [6], routing: [4, 6], forwarding: [4, 6], missing: [] } },
  ];
  for (const variant of [...variants, ...variants.toReversed()]) {
    const changed = { ...facts(), ...variant };
    expect(cache.make(changed)).toEqual(desiredMesh(changed));
  }
  const { paths: _, ...ungated } = facts();
  expect(cache.make(ungated)).toEqual(desiredMesh(ungated));
});
