// The steps of a plan that make a node wrong until they are taken, and the ones that can wait.
import { expect, test } from "bun:test";
import type { DeviceConfig } from "../../src/net/device.ts";
import type { Step } from "../../src/plan/step.ts";
import { dueSteps, type MeshPlan } from "../../src/reconcile/mesh-plan.ts";

const dev = "wg-cni-b";
const record = { ip: "192.0.2.2", port: 51821 };

function isDue(config: DeviceConfig, { mayRoam = true, hasEndpoint = true } = {}): boolean {
  const step: Step = { do: "configureDevice", dev, config };
  const withPeer = (peer: object) => ({ devices: new Map([[dev, { peers: new Map([["key", peer]]) }]]) });
  const plan = {
    steps: [step],
    desired: withPeer({ endpoint: record, mayRoam }),
    observed: withPeer(hasEndpoint ? { endpoint: { ip: "2001:db8::2", port: 51821 } } : {}),
  };
  return dueSteps(plan as unknown as MeshPlan).length > 0;
}

const endpoint = { peers: [{ publicKey: "key", endpoint: record }] };

test.each([
  ["the endpoint of a peer that has roamed and is idle", isDue(endpoint), false],
  ["the endpoint of a peer that may not roam", isDue(endpoint, { mayRoam: false }), true],
  ["the endpoint of a peer that has none", isDue(endpoint, { hasEndpoint: false }), true],
  [
    "allowed IPs beside the endpoint",
    isDue({ peers: [{ publicKey: "key", endpoint: record, allowedIPs: ["10.2.0.0/24"] }] }),
    true,
  ],
  ["the port of the device beside the endpoint", isDue({ ...endpoint, listenPort: 51821 }), true],
])("dueSteps: %s", (_, due, expected) => {
  expect(due).toBe(expected);
});
