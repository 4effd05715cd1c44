// The claims that another node's Node object confirms, read if two nodes claim the same; and the event about
// a claim that has passed on.

import { expect, test } from "bun:test";
import type { StatusFacts } from "../../../src/kube/conditions.ts";
import { covered } from "../../kube/facts.ts";
import { nodeOf } from "../../kube/objects.ts";
import { waitUntil } from "../../lab/wait.ts";
import { own } from "../directory/directory.ts";
import { put, start } from "../kube-context.ts";
import { ownNode } from "../kube-server.ts";

test("a Node gives its node addresses and the CIDRs of its pods, once the API has said so, and nothing else", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.putNode(
    nodeOf("node-2", { addresses: [["InternalIP", "198.18.0.2"]], spec: { podCIDRs: ["10.2.0.0/24"] } }),
  );
  const asks = () =>
    api.seen.filter(({ path }) => path.startsWith("/api/v1/nodes?") && path.includes("node-2"));
  const isGiven = (claim: string, kind: "node IP" | "pod CIDR", name = "node-2") =>
    node.source.isGiven(name, claim, kind);
  expect(isGiven("198.18.0.2/32", "node IP")).toBe(false);
  await waitUntil(() => isGiven("198.18.0.2/32", "node IP"), { what: "the Node is known" });
  expect(isGiven("198.18.0.3/32", "node IP")).toBe(false);
  expect(isGiven("10.2.0.7/32", "pod CIDR")).toBe(true);
  expect(isGiven("10.3.0.0/24", "pod CIDR")).toBe(false);
  expect(isGiven("198.18.0.2/32", "node IP", "nobody")).toBe(false);
  expect(asks().length).toBeLessThan(3);
});

test("a claim that has passed on is reported by one event, whichever node reports it", async () => {
  await using scene = await start();
  const { api, node } = scene;
  api.putNode(ownNode);
  put(api, 1);
  await node.published();
  const facts: StatusFacts = {
    ...{ ...covered, up: true, mode: "permissive", peers: 3, keyCreatedAtMs: 0 },
    lapsed: [{ owner: "node-1", claimant: "node-2", claim: "198.18.0.2/32" }],
  };
  const events = () => api.seen.filter(({ path }) => path.startsWith("/apis/events.k8s.io/"));
  for (let i = 0; i < 2; i++) {
    node.skippedMs += 60_000;
    node.source.report(own.name, () => facts);
    await waitUntil(() => events().length === 1, { what: "the event" });
  }
  const event = await waitUntil(() => api.object(events()[0]!.path), { what: "the event being stored" });
  expect(event).toMatchObject({
    ...{ type: "Normal", reason: "ClaimLapsed", reportingInstance: own.name },
    regarding: { kind: "WireGuardNode", name: "node-2" },
  });
});
