// The agent keeps its promises on the kernel's WireGuard: the gate opens without a lost packet, a rotation under
// traffic loses none and shows none, and an agent that is killed is not missed. The tests tell one story in their
// order; node 3 joins after the gate's.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { settledDump, wgDump, wgJson, wgMust } from "../../kernel/support/mesh-reference.ts";
import { knowsPeers, upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { pathStreams } from "../../lab/path-matrix.ts";
import type { Pod } from "../../lab/pod.ts";
import { eachWay, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { families, opens, phaseMs, podRoute, provesHosts, rate, record, Trio } from "./trio.ts";

const rotationMs = 300_000;

let trio: Trio;
let n1: Node;
let n2: Node;
let n3: Node;
let p1: Pod;
let p2: Pod;
let p3: Pod;

beforeAll(async () => {
  trio = await Trio.create();
  [n1, n2, n3] = trio.nodes;
  for (const node of [n1, n2]) await upWithRecords(node);
  p1 = await trio.addPod(n1, "10-ptp.conflist");
  p2 = await trio.addPod(n2, "10-wg-cni.conflist");
}, 120_000);
afterAll(() => trio?.[Symbol.dispose]());

test("the gate: no packet is lost on any path before, while and after node 2 encrypts alone", async () => {
  await trio.startAgent(n1);
  const streams = await Promise.all(families.map((family) => pathStreams(p1, p2, family, { rate: 5 })));
  // Node 1 knows node 2, which does not know it: no handshake, so nothing changes.
  writeFileSync(`${trio.lab.sharedDirectory}/records/n2.json`, JSON.stringify(await record(n2)));
  await knowsPeers(n1, [n2]);
  expect((await trio.inPlaintext(() => Bun.sleep(phaseMs))).pods).toBeGreaterThan(0);
  expect(podRoute(n1, n2)).toStartWith("throw");
  // The agent of node 1 sleeps: node 2 encrypts from here on, node 1 answers in plaintext.
  trio.agentOf(n1).freeze();
  await trio.startAgent(n2);
  await opens(n2, n1);
  await Bun.sleep(phaseMs);
  expect(podRoute(n1, n2)).toStartWith("throw");
  trio.agentOf(n1).thaw();
  await opens(n1, n2);
  await Promise.all([provesHosts(n1, n2), provesHosts(n2, n1)]);
  const both = await trio.inPlaintext(() => Bun.sleep(phaseMs));
  const results = (await Promise.all(streams.map((one) => one.stop()))).flat();
  expect(losses(results)).toEqual({});
  // Host to host stays outside by design.
  expect(both).toEqual({ pods: 0, hosts: expect.any(Number) });
  expect(both.hosts).toBeGreaterThan(0);
  expect((await wgJson<{ backend: string }>(n1, ["status"])).backend).toBe("kernel");
});

test("a rotation of all nodes at once, and agents that are killed and started again: 0 lost, 0 in plaintext", async () => {
  const nodes = trio.nodes;
  await upWithRecords(n3);
  p3 = await trio.addPod(n3, "10-wg-cni.conflist");
  await trio.startAgent(n3);
  await trio.openAll();
  const keys = async (node: Node) => (await record(node)).slots.map(({ publicKey }) => publicKey);
  const before = await Promise.all(nodes.map(keys));
  const pairs = [
    [p1, p2],
    [p2, p3],
    [p3, p1],
  ] as const;
  let streams: Streams | undefined;
  const plaintext = await trio.inPlaintext(async () => {
    streams = await Streams.start([...eachWay(pairs, 4), ...eachWay(pairs, 6)], { rate });
    const from = nodes.map((node) => trio.agentOf(node).lines().length);
    await Promise.all(nodes.map((node) => wgMust(node, ["key", "rotate"])));
    await Promise.all(
      nodes.map((node, at) =>
        trio.agentOf(node).waitFor("the rotation is done", rotationMs, from[at] as number),
      ),
    );
    // By now the new keys of the peers have been programmed.
    await waitUntil(() => nodes.every((node) => hasKeysOf(node, nodes)), { what: "all have the new keys" });
    await restartAgents(nodes);
  });
  const results = (await streams?.stop()) ?? [];
  expect(losses(results)).toEqual({});
  expect(results.reduce((sum, { received }) => sum + received, 0)).toBeGreaterThan(5000);
  expect(plaintext.pods).toBe(0);
  for (const [at, node] of nodes.entries()) {
    expect((await keys(node)).filter((key) => before[at]?.includes(key))).toEqual([]);
    expect((await record(node)).slots.map(({ state }) => state)).toEqual(["active", "active"]);
  }
});

/** True if a node's devices have the others' present keys, and no other ones. */
function hasKeysOf(node: Node, nodes: readonly Node[]): boolean {
  const seen = wgDump(node);
  return Object.entries(seen).every(([dev, { peers }]) => {
    const wanted = nodes.filter((other) => other !== node).map((other) => wgDump(other)[dev]?.publicKey);
    return Bun.deepEquals(Object.keys(peers).sort(), wanted.sort());
  });
}

/**
 * Killed, with a while without any. Afterwards each asks for handshakes on the slot that had none with the present
 * keys, by a keepalive for a while, and finds nothing else to write.
 */
async function restartAgents(nodes: readonly Node[]): Promise<void> {
  const settled = () => nodes.map((node) => withoutKeepalives(settledDump(node)));
  const before = settled();
  await Promise.all(nodes.map((node) => trio.agentOf(node).kill()));
  await Bun.sleep(phaseMs);
  await Promise.all(nodes.map((node) => trio.startAgent(node)));
  await Bun.sleep(phaseMs);
  expect(settled()).toEqual(before);
  for (const node of nodes)
    expect(
      trio
        .agentOf(node)
        .lines()
        .filter(({ level, message }) => level !== "info" || message.includes("changed"))
        .filter(({ first }) => !String(first).includes(" persistent-keepalive ")),
    ).toEqual([]);
}

function withoutKeepalives(dump: unknown): unknown {
  return JSON.parse(JSON.stringify(dump, (key, value) => (key === "keepalive" ? undefined : value)));
}
