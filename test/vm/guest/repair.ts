// The agent mends a mesh on the kernel's WireGuard: devices that were deleted, host encryption that begins, a peer
// that falls silent, and one that cannot be reached. The tests tell one story in their order.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { devices, wgDump, wgMust } from "../../kernel/support/mesh-reference.ts";
import type { LogLine } from "../../lab/agent.ts";
import { upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { eachWay, flow, losses, Streams } from "../../lab/stream.ts";
import { http, serveHttp } from "../../lab/traffic.ts";
import { families, isOpen, openMs, opens, phaseMs, podRoute, rate, record, Trio } from "./trio.ts";

/** 30 s of silence and 15 s for each recovery step; on a slow machine a look may come much later. */
const mendMs = 200_000;
/** WireGuard's KEEPALIVE_TIMEOUT, and some. */
const passiveKeepaliveMs = 12_000;
/** WireGuard alone takes 15 s from the beginning of a stream. */
const longestGapMs = 6000;
const apiPort = 6443;
const otherPort = 8080;

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
  for (const node of trio.nodes) await upWithRecords(node);
  p1 = await trio.addPod(n1, "10-ptp.conflist");
  p2 = await trio.addPod(n2, "10-wg-cni.conflist");
  p3 = await trio.addPod(n3, "10-wg-cni.conflist");
  for (const node of trio.nodes) await trio.startAgent(node);
  await trio.openAll();
}, 400_000);
afterAll(() => trio?.[Symbol.dispose]());

test("devices that are deleted, or set down, are back with new sessions: what comes from outside is lost for a moment", async () => {
  for (const deed of ["delete DEV", "set DEV down"]) {
    const stream = await Streams.start([flow(p2, p1, 4)], { rate: 50, mayLose: true });
    await Bun.sleep(1000);
    n1.script(devices.map((dev) => `ip link ${deed.replace("DEV", dev)}`));
    await Bun.sleep(longestGapMs + 2000);
    const [result] = await stream.stop();
    expect(result?.longestGapMs, deed).toBeLessThan(longestGapMs);
    expect(result?.lostRanges.at(-1)?.last ?? 0, deed).toBeLessThan((result?.sent ?? 0) - 1);
  }
});

test("hosts are encrypted with each other but for the control plane; nothing is lost when that begins", async () => {
  const { nodes } = trio;
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
  await Promise.all(nodes.map((node) => trio.agentOf(node).waitFor("host encryption stays", openMs)));
  await Bun.sleep(phaseMs);
  expect(await trio.inPlaintext(() => Bun.sleep(phaseMs))).toEqual({ pods: 0, hosts: 0 });
  for (const family of families) {
    const asks = (port: number) =>
      trio.inPlaintext(async () =>
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
  // As if the peer had roamed to where nothing is: something was received since the agent has read the device.
  trio.agentOf(n1).freeze();
  p1.must(["ping", "-q", "-c", "1", p2.ip(4)]);
  // Its last passive keepalive must be over, or it would set the endpoint right by itself.
  await Bun.sleep(passiveKeepaliveMs);
  // They would notice it too, and node 3's recovery steps may reach the other slot before node 1's does.
  for (const node of [n2, n3]) trio.agentOf(node).freeze();
  const from = trio.agentOf(n1).lines().length;
  n1.must(["wg", "set", "wg-cni-a", "peer", keyOfN2, "endpoint", "192.0.2.77:51820"]);
  trio.agentOf(n1).thaw();
  // What node 3 is sent does not arrive.
  blockInput(n3, "51820");
  const streams = await Streams.start([flow(p1, p2, 4), flow(p1, p3, 4)], { rate, mayLose: true });
  await trio
    .agentOf(n1)
    .waitFor(({ peer, message }) => peer === "n2" && message.includes("answers again"), mendMs, from);
  await trio
    .agentOf(n1)
    .waitFor(({ peer, slot, why }) => peer === "n3" && slot === "b" && why === "silent", mendMs, from);
  const steps = (name: string) =>
    trio
      .agentOf(n1)
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
  for (const node of [n2, n3]) trio.agentOf(node).thaw();
});

test("the ratchet: a peer that cannot be reached is not reached in plaintext, until it is released", async () => {
  blockInput(n3, "51821");
  const send = async ({ mayLose = false } = {}) => {
    const stream = await Streams.start([flow(p1, p3, 4)], { rate, mayLose });
    await Bun.sleep(phaseMs);
    return await stream.stop();
  };
  expect((await trio.inPlaintext(() => send({ mayLose: true }))).pods).toBe(0);
  await trio.agentOf(n1).kill();
  await trio.startAgent(n1);
  expect((await trio.inPlaintext(send)).pods).toBe(0);
  expect(isOpen(n1, n3)).toBe(true);
  await wgMust(n1, ["peer", "release", "n3"]);
  expect(podRoute(n1, n3)).toStartWith("throw");
  expect((await trio.inPlaintext(async () => expect(losses(await send())).toEqual({}))).pods).toBeGreaterThan(
    0,
  );
  n3.must(["nft", "delete", "table", "inet", "block"]);
  await opens(n1, n3);
  expect((await trio.inPlaintext(send)).pods).toBe(0);
});

/** Packets to a port of the node are lost; those that it sends are not. */
function blockInput(node: Node, port: string): void {
  node.script([
    "nft add table inet block",
    "nft 'add chain inet block input { type filter hook prerouting priority -400; }'",
    `nft add rule inet block input udp dport ${port} drop`,
  ]);
}
