// What counts as damage by other processes: not what a peer's own packets have changed, nor what this process has.
import { expect, test } from "bun:test";
import fc from "fast-check";
import { diffDamage, withoutPeers } from "../../../src/plan/mesh/damage.ts";
import { diffMesh } from "../../../src/plan/mesh/diff.ts";
import { emptyMesh, type Mesh, type MeshPeer } from "../../../src/plan/mesh/model.ts";
import { noneReplaced } from "../../../src/plan/peers/replaced-endpoints.ts";
import { renderStep, type Step } from "../../../src/plan/step.ts";
import { splitStep } from "../../../src/plan/step-split.ts";
import { meshes, meshesOrNone, runs } from "../meshes.ts";

const key = Buffer.alloc(32, 7).toString("base64");
const recorded = { ip: "192.0.2.2", port: 51820 };
const roamed = { ip: "198.51.100.7", port: 4000 };
const peer: MeshPeer = {
  ...{ endpoint: recorded, keepaliveSeconds: 0, hasPresharedKey: false, allowedIPs: ["10.2.0.0/24"] },
  ...{ lastHandshakeMs: 0, mayRoam: true },
};
const hourMs = 3_600_000;
/** The session of each observed peer has been over for an hour. */
const options = { slotOf: new Map(), nowMs: hourMs, ownIPs: ["192.0.2.1"] };

const meshOf = (...peers: readonly MeshPeer[]): Mesh => ({
  ...emptyMesh,
  // Only devices whose links are there are compared.
  links: new Map([["wg-cni-a", { kind: "wireguard", mtu: 1420, up: true }]]),
  devices: new Map([
    ["wg-cni-a", { listenPort: 51820, fwmark: 0, peers: new Map(peers.map((one) => [key, one])) }],
  ]),
});
/** The damage that a sync to what was programmed repairs, if nothing else is said. */
const damage = (programmed: Mesh, observed: Mesh, replaced = noneReplaced, desired = programmed) =>
  diffDamage(diffMesh(desired, observed, options), programmed, observed, replaced, options).flatMap(
    renderStep,
  );

test.each([
  ["of a peer that may roam", peer],
  ["that was pinned", { ...peer, mayRoam: false }],
])("a peer that has moved has damaged nothing, with an endpoint %s", (_, programmed) => {
  expect(damage(meshOf(programmed), meshOf({ ...peer, endpoint: roamed }))).toEqual([]);
});

test("a peer that has moved to an address that this node has now is no damage", () => {
  expect(damage(meshOf(peer), meshOf({ ...peer, endpoint: { ...roamed, ip: "192.0.2.1" } }))).toEqual([]);
});

test("an endpoint that another process has replaced is damage, and gets the one from before", () => {
  const observed = meshOf({ ...peer, endpoint: { ip: "203.0.113.9", port: 9 } });
  expect(damage(meshOf(peer), observed, new Map([[key, roamed]]))).toEqual([
    `wg set wg-cni-a peer ${key} endpoint 198.51.100.7:4000`,
  ]);
});

test("a peer that is missing is damage, unless this process has removed it", () => {
  expect(damage(meshOf(peer), meshOf())).toHaveLength(1);
  expect(damage(withoutPeers(meshOf(peer), new Set([key])), meshOf())).toEqual([]);
  expect(damage(withoutPeers(meshOf(peer), new Set(["other"])), meshOf())).toHaveLength(1);
});

test("of what a sync does, it restores the same as if everything was compared with what was programmed", () => {
  const commandsOf = (steps: readonly Step[]) => new Set(steps.flatMap(splitStep).flatMap(renderStep));
  fc.assert(
    fc.property(meshes, meshesOrNone, meshesOrNone, (desired, programmed, observed) => {
      const steps = diffMesh(desired, observed, options);
      const all = diffMesh(programmed, observed, { ...options, hasRoamed: () => true });
      const found = commandsOf(diffDamage(steps, programmed, observed, noneReplaced, options));
      // To wait changes nothing in the kernel.
      const changes = steps.filter((step) => step.do !== "wait");
      const restored = commandsOf(changes).intersection(commandsOf(all));
      expect(commandsOf(changes).intersection(found)).toEqual(restored);
    }),
    runs,
  );
});
