// While routes and rules change, each packet takes the route that it took before or the one that it takes
// afterwards, after any step: a third one loses packets, or shows them in plaintext.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Route } from "../../../src/net/objects.ts";
import { marksOf } from "../../../src/plan/firewall/marks.ts";
import { desiredMesh } from "../../../src/plan/mesh/desired.ts";
import { diffMesh } from "../../../src/plan/mesh/diff.ts";
import { emptyMesh, type Mesh } from "../../../src/plan/mesh/model.ts";
import { resolveClaims } from "../../../src/plan/peers/claims.ts";
import { parseSettings } from "../../../src/plan/settings/settings.ts";
import { findRoute, lookUp, type Packet } from "../lookup.ts";
import { meshes, runs } from "../meshes.ts";
import { applyToModel } from "../model.ts";
import { key, localRecord } from "../random.ts";

const publicKeys = { a: key(200), b: key(201) };
const options = { slotOf: new Map(), nowMs: 1_000_000_000, ownIPs: localRecord.nodeIPs };
const { podTable, hostTable, fwmark } = parseSettings({});
const { outside, inside, arrived } = marksOf(fwmark);

/** The mesh before the first step, and after each. */
function* between(from: Mesh, to: Mesh): Generator<Mesh> {
  const steps = diffMesh(to, from, options);
  for (let done = 0; done <= steps.length; done++) yield applyToModel(from, steps.slice(0, done), publicKeys);
}

/** This node and one peer whose gate is open, in a mode. */
function meshIn(mode: "off" | "permissive" | "strict", hostEncryption = false): Mesh {
  const record = {
    ...{ name: "node-1", endpoints: ["192.0.2.1"], nodeIPs: ["192.0.2.1", "2001:db8::1"] },
    ...{ slots: [{ slot: "a", publicKey: key(1), port: 51820, state: "active" } as const] },
    podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
  };
  // The node's own pods have the first network in the cluster's: the kernel lists /24 and /16 in either order.
  const node = { ...localRecord, podCIDRs: ["10.244.0.0/24", "fd00:10:244::/64"] };
  const slot = mode === "off" ? {} : { slot: "a" as const };
  return desiredMesh({
    ...{ node, hostEncryption, podIPs: ["10.244.0.5"], linkKind: "wireguard", mtu: 1420, uplinks: ["eth0"] },
    settings: parseSettings({ mode, clusterCIDRs: ["10.244.0.0/16", "fd00:10:244::/48"] }),
    ownership: resolveClaims({ ...node, publicKeys: [] }, [{ record, claimedAt: () => new Map() }]),
    paths: new Map([["node-1", { ...slot, candidate: 0, initiate: [], pinned: false }]]),
    ...{ changedPeers: new Set<string>(), hasFirewall: true, hasConntrack: true },
  });
}

const packets: Readonly<Record<string, Packet>> = {
  "from the tunnel to a pod here": { dst: "10.244.0.5", iif: "wg-cni-a", mark: 0 },
  "from the tunnel to a pod here that is unknown yet": { dst: "10.244.0.6", iif: "wg-cni-a", mark: 0 },
  "from the tunnel to a pod here, IPv6": { dst: "fd00:10:244::5", iif: "wg-cni-a", mark: 0 },
  "from a pod to a peer's pod": { dst: "10.244.1.5", iif: "veth1", mark: 0 },
  "from a pod to a peer's pod, IPv6": { dst: "fd00:10:244:1::5", iif: "veth1", mark: 0 },
  "from a pod to the peer": { dst: "192.0.2.1", iif: "veth1", mark: 0 },
  "from this node to a peer's pod": { dst: "10.244.1.5", iif: "lo", mark: 0 },
  "from this node to the peer": { dst: "192.0.2.1", iif: "lo", mark: 0 },
  "back to where plaintext came from": { dst: "10.244.1.5", iif: "eth0", mark: arrived.mark },
  "an answer to the peer": { dst: "192.0.2.1", iif: "lo", mark: inside.mark },
  "the encrypted packets": { dst: "192.0.2.1", iif: "lo", mark: outside.mark },
  "from a pod to the world": { dst: "198.51.100.1", iif: "veth1", mark: 0 },
};

describe("no packet takes a third route while", () => {
  const changes: Record<string, readonly [from: Mesh, to: Mesh]> = {
    "the first peer is encrypted": [meshIn("off"), meshIn("permissive")],
    "permissive becomes strict": [meshIn("permissive"), meshIn("strict")],
    "strict becomes permissive": [meshIn("strict"), meshIn("permissive")],
    "permissive becomes off": [meshIn("permissive"), meshIn("off")],
    "the mesh is made": [emptyMesh, meshIn("permissive")],
    "the mesh is made with host encryption": [emptyMesh, meshIn("permissive", true)],
    "the mesh ends": [meshIn("permissive"), emptyMesh],
    "the mesh ends with host encryption": [meshIn("permissive", true), emptyMesh],
    "host encryption begins in strict mode": [meshIn("strict"), meshIn("strict", true)],
    "host encryption ends in strict mode": [meshIn("strict", true), meshIn("strict")],
  };
  test.each(Object.entries(changes))("%s", (_, [from, to]) => {
    // The kernel lists routes in an order of its own.
    const [listed, reversed] = [from, { ...from, routes: from.routes.toReversed() }];
    for (const start of [listed, reversed])
      for (const mesh of between(start, to))
        for (const [name, packet] of Object.entries(packets))
          expect([lookUp(from, packet), lookUp(to, packet)], name).toContain(lookUp(mesh, packet));
  });
});

test("a table has for each address the old route or the new one, after any step from any mesh to any other", () => {
  const addresses = ["10.0.0.5", "10.0.0.9", "10.1.0.1", "10.2.0.1", "10.3.0.1", "10.3.7.1", "10.9.0.1"];
  addresses.push("192.0.2.1", "fd00::5", "fd00::9", "fd00:1::1", "2001:db8::1");
  const describeRoute = (route: Route | undefined) => route && `${route.type} ${route.dst} ${route.dev}`;
  const cases = [podTable, hostTable].flatMap((table) => addresses.map((ip) => [table, ip] as const));
  fc.assert(
    fc.property(meshes, meshes, (from, to) => {
      for (const mesh of between(from, to))
        for (const [table, ip] of cases) {
          const [old, wanted, now] = [from, to, mesh].map(({ routes }) =>
            describeRoute(findRoute(routes, table, ip)),
          );
          expect([old, wanted]).toContain(now);
        }
    }),
    { ...runs, numRuns: 40 },
  );
});
