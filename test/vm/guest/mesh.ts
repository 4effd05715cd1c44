// The agent keeps its promises on the kernel's WireGuard: the gate opens without a
// lost packet, a rotation under traffic loses none and shows none, an agent that
// is killed is not missed, hosts are encrypted but for the control plane, and
// a peer that falls silent is brought back. One mesh, whose story the tests tell
// in their order:
//
//   n1 p1 ──┐
//   n2 p2 ──┼── br0: the wire, where a capture sees what is in plaintext
//   n3 p3 ──┘        n3 joins after the gate's test
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { NodeRecord } from "../../../src/net/record.ts";
import {
  addNode,
  devices,
  settledDump,
  wgDump,
  wgJson,
  wgMust,
} from "../../kernel/support/mesh-reference.ts";
import type { Agent, LogLine } from "../../lab/agent.ts";
import { Lab } from "../../lab/lab.ts";
import { knowsPeers, upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { pathStreams } from "../../lab/path-matrix.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { eachWay, flow, losses, Streams } from "../../lab/stream.ts";
import { http, serveHttp } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";

const families = [4, 6] as const;
const phaseMs = 3000;
const openMs = 120_000;
const rotationMs = 300_000;
/** 30 s of silence and 15 s for each recovery step; on a slow machine a look may come much later. */
const mendMs = 200_000;
/** WireGuard's KEEPALIVE_TIMEOUT, and some. */
const passiveKeepaliveMs = 12_000;
/** WireGuard alone takes 15 s from the beginning of a stream. */
const longestGapMs = 6000;
const apiPort = 6443;
const otherPort = 8080;
/** Packets a second of a flow: the machine is emulated, and all that is sent must be carried. */
const rate = 20;

let lab: Lab;
let n1: Node;
let n2: Node;
let n3: Node;
let p1: Pod;
let p2: Pod;
let p3: Pod;
const agents = new Map<Node, Agent>();

const agentOf = (node: Node) => agents.get(node) as Agent;
const startAgent = async (node: Node) => agents.set(node, await node.agent());
/** The route of a node's own processes and pods to a peer's pods. */
const podRoute = (node: Node, to: Node) =>
  node.must(["ip", "route", "show", "table", "18099", "exact", to.podCidrs[0] as string]).trim();
const isOpen = (node: Node, to: Node) => podRoute(node, to).includes("dev wg-cni-");
const opens = (node: Node, to: Node) =>
  waitUntil(() => isOpen(node, to), {
    what: `${node.name} routes ${to.name}'s pods into the tunnel`,
    timeoutMs: openMs,
  });
const record = (node: Node) => wgJson<NodeRecord>(node, ["node", "show"]);

async function addPod(node: Node, conf: string): Promise<Pod> {
  const pod = node.pod(`p${node.name}`);
  await node.runtime.add(readConfList(`${repository}/conf/${conf}`), pod);
  return pod;
}

/** How many packets between nodes were outside the tunnel meanwhile, with a pod's address and without. */
async function inPlaintext(act: () => Promise<unknown>): Promise<{ pods: number; hosts: number }> {
  const capture = await lab.capture("not udp portrange 51820-51821");
  await act();
  const { plaintext, host } = (await capture.tally()).packets;
  await capture.stop();
  return { pods: plaintext, hosts: host };
}

beforeAll(async () => {
  // Two emulated processors fall behind for a moment now and then.
  writeFileSync("/proc/sys/net/core/netdev_max_backlog", "100000");
  lab = await Lab.create("agent");
  [n1, n2, n3] = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)];
  for (const node of [n1, n2, n3]) node.strictReversePath();
  for (const node of [n1, n2]) await upWithRecords(node);
  p1 = await addPod(n1, "10-ptp.conflist");
  p2 = await addPod(n2, "10-wg-cni.conflist");
}, 120_000);
afterAll(() => lab?.[Symbol.dispose]());

test("the gate: no packet is lost on any path before, while and after node 2 encrypts alone", async () => {
  await startAgent(n1);
  const streams = await Promise.all(families.map((family) => pathStreams(p1, p2, family, { rate: 5 })));
  // Node 1 knows node 2, which does not know it: no handshake, so nothing changes.
  writeFileSync(`${lab.sharedDirectory}/records/n2.json`, JSON.stringify(await record(n2)));
  await knowsPeers(n1, [n2]);
  expect((await inPlaintext(() => Bun.sleep(phaseMs))).pods).toBeGreaterThan(0);
  expect(podRoute(n1, n2)).toStartWith("throw");
  // The agent of node 1 sleeps: node 2 encrypts from here on, node 1 answers in plaintext.
  agentOf(n1).freeze();
  await startAgent(n2);
  await opens(n2, n1);
  await Bun.sleep(phaseMs);
  expect(podRoute(n1, n2)).toStartWith("throw");
  agentOf(n1).thaw();
  await opens(n1, n2);
  const both = await inPlaintext(() => Bun.sleep(phaseMs));
  const results = (await Promise.all(streams.map((one) => one.stop()))).flat();
  expect(losses(results)).toEqual({});
  // Host to host stays outside by design.
  expect(both).toEqual({ pods: 0, hosts: expect.any(Number) });
  expect(both.hosts).toBeGreaterThan(0);
  expect((await wgJson<{ backend: string }>(n1, ["status"])).backend).toBe("kernel");
});

test("a rotation of all nodes at once, and agents that are killed and started again: 0 lost, 0 in plaintext", async () => {
  const nodes = [n1, n2, n3];
  await upWithRecords(n3);
  p3 = await addPod(n3, "10-wg-cni.conflist");
  await startAgent(n3);
  for (const node of nodes) for (const other of nodes) if (node !== other) await opens(node, other);
  const keys = async (node: Node) => (await record(node)).slots.map(({ publicKey }) => publicKey);
  const before = await Promise.all(nodes.map(keys));
  const pairs = [
    [p1, p2],
    [p2, p3],
    [p3, p1],
  ] as const;
  let streams: Streams | undefined;
  const plaintext = await inPlaintext(async () => {
    streams = await Streams.start([...eachWay(pairs, 4), ...eachWay(pairs, 6)], { rate });
    const from = nodes.map((node) => agentOf(node).lines().length);
    await Promise.all(nodes.map((node) => wgMust(node, ["key", "rotate"])));
    await Promise.all(
      nodes.map((node, at) => agentOf(node).waitFor("the rotation is done", rotationMs, from[at] as number)),
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

/** Killed, with a while without any, and none of them finds anything to write afterwards. */
async function restartAgents(nodes: readonly Node[]): Promise<void> {
  const settled = () => nodes.map(settledDump);
  const before = settled();
  await Promise.all(nodes.map((node) => agentOf(node).kill()));
  await Bun.sleep(phaseMs);
  await Promise.all(nodes.map(startAgent));
  await Bun.sleep(phaseMs);
  expect(settled()).toEqual(before);
  for (const node of nodes)
    expect(
      agentOf(node)
        .lines()
        .filter(({ level, message }) => level !== "info" || message.includes("changed")),
    ).toEqual([]);
}

test("devices that are deleted, or set down, are back with new sessions: what comes from outside is lost for a moment", async () => {
  for (const deed of ["delete DEV", "set DEV down"]) {
    const stream = await Streams.start([flow(p2, p1, 4)], { rate: 50 });
    await Bun.sleep(1000);
    n1.script(devices.map((dev) => `ip link ${deed.replace("DEV", dev)}`));
    await Bun.sleep(longestGapMs + 2000);
    const [result] = await stream.stop();
    expect(result?.longestGapMs, deed).toBeLessThan(longestGapMs);
    expect(result?.lostRanges.at(-1)?.last ?? 0, deed).toBeLessThan((result?.sent ?? 0) - 1);
  }
});

test("hosts are encrypted with each other but for the control plane; nothing is lost when that begins", async () => {
  const nodes = [n1, n2, n3];
  await serveHttp(n1, "here", [apiPort, otherPort]);
  const pairs = [
    [n1, n2],
    [n2, n3],
    [n3, n1],
  ] as const;
  const streams = await Streams.start(
    families.flatMap((family) => eachWay(pairs, family)),
    { rate },
  );
  const controlPlane = `${n1.ip(4)}:${apiPort},[${n1.ip(6)}]:${apiPort}`;
  for (const node of nodes)
    await wgMust(node, ["up", "--host-encryption", "on", "--control-plane", controlPlane]);
  await Promise.all(nodes.map((node) => agentOf(node).waitFor("host encryption stays", openMs)));
  await Bun.sleep(phaseMs);
  expect(await inPlaintext(() => Bun.sleep(phaseMs))).toEqual({ pods: 0, hosts: 0 });
  for (const family of families) {
    const asks = (port: number) =>
      inPlaintext(async () =>
        expect(await http(n2, n1.ip(family) as string, 20, port)).toMatchObject({ ok: true }),
      );
    expect((await asks(apiPort)).hosts).toBeGreaterThan(0);
    expect((await asks(otherPort)).hosts).toBe(0);
  }
  expect(losses(await streams.stop())).toEqual({});
  for (const node of nodes) await wgMust(node, ["up", "--host-encryption", "off"]);
});

test("a wrong endpoint is set right, a port blocked one way is left for the other slot", async () => {
  const climbed = (name: string) => (line: LogLine) => line.peer === name && line.step !== undefined;
  const keyOfN2 = (await record(n2)).slots[0]?.publicKey as string;
  // Its last passive keepalive must be over, or it would set the endpoint right by itself.
  await Bun.sleep(passiveKeepaliveMs);
  // They would notice it too, and node 3's recovery steps may reach the other slot before node 1's does.
  for (const node of [n2, n3]) agentOf(node).freeze();
  const from = agentOf(n1).lines().length;
  // As if the peer had roamed to where nobody is; and what node 3 is sent does not arrive.
  n1.must(["wg", "set", "wg-cni-a", "peer", keyOfN2, "endpoint", "192.0.2.77:51820"]);
  blockInput(n3, "51820");
  const streams = await Streams.start([flow(p1, p2, 4), flow(p1, p3, 4)], { rate });
  await agentOf(n1).waitFor(
    ({ peer, message }) => peer === "n2" && message.includes("answers again"),
    mendMs,
    from,
  );
  await agentOf(n1).waitFor(
    ({ peer, slot, why }) => peer === "n3" && slot === "b" && why === "silent",
    mendMs,
    from,
  );
  const steps = (name: string) =>
    agentOf(n1)
      .lines()
      .slice(from)
      .filter(climbed(name))
      .map(({ step }) => step);
  expect(steps("n2")).toEqual(["reset-endpoint"]);
  expect(steps("n3")).toEqual(["reset-endpoint", "re-add", "other-slot"]);
  expect(wgDump(n1)["wg-cni-a"]?.peers[keyOfN2]?.endpoint).toBe("192.0.2.2:51820");
  await Bun.sleep(phaseMs);
  for (const { received, sent, lostRanges } of await streams.stop()) {
    // Silent until it was mended, and whole from there on.
    expect(received).toBeGreaterThan(0);
    expect(lostRanges.at(-1)?.last).toBeLessThan(sent - 1);
  }
  for (const node of [n2, n3]) agentOf(node).thaw();
});

test("the ratchet: a peer that cannot be reached is not reached in plaintext, until it is released", async () => {
  blockInput(n3, "51821");
  const send = async () => {
    const stream = await Streams.start([flow(p1, p3, 4)], { rate });
    await Bun.sleep(phaseMs);
    return await stream.stop();
  };
  expect((await inPlaintext(send)).pods).toBe(0);
  await agentOf(n1).kill();
  await startAgent(n1);
  expect((await inPlaintext(send)).pods).toBe(0);
  expect(isOpen(n1, n3)).toBe(true);
  await wgMust(n1, ["peer", "release", "n3"]);
  expect(podRoute(n1, n3)).toStartWith("throw");
  expect((await inPlaintext(async () => expect(losses(await send())).toEqual({}))).pods).toBeGreaterThan(0);
  n3.must(["nft", "delete", "table", "inet", "block"]);
  await opens(n1, n3);
  expect((await inPlaintext(send)).pods).toBe(0);
});

/** Packets to a port of the node are lost; those that it sends are not. */
function blockInput(node: Node, port: string): void {
  node.script([
    "nft add table inet block",
    "nft 'add chain inet block input { type filter hook prerouting priority -400; }'",
    `nft add rule inet block input udp dport ${port} drop`,
  ]);
}
