// A running node loses both its devices, and cannot make others: their ports stay taken. Its peers are not told, and
// go on to encrypt, so it refuses what it would send them in plaintext, and comes back when the ports are free.
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Agent } from "../../lab/agent.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, devices, routeLines, tables, wgJson } from "../support/mesh-reference.ts";

const soonMs = 60_000;

describeKernel("a node that has lost both slots", () => {
  setDefaultTimeout(180_000);
  const lab = withLab("lost-slots");
  let [n1, n2]: Node[] = [];
  let [p1, p2]: Pod[] = [];
  let agent: Agent;
  const nodes = () => [n1, n2] as [Node, Node];
  const pods = () => [p1, p2] as [Pod, Pod];
  const routeToPeer = () =>
    routeLines(nodes()[0], 4, tables.pods)
      .filter((line) => line.includes("10.244.2.0/24"))
      .join();

  beforeAll(async () => {
    [n1, n2] = [await addNode(lab, 1), await addNode(lab, 2)];
    const joined = await joinByRecords(nodes());
    agent = joined.agents[0] as Agent;
    [p1, p2] = await addPods(nodes());
    await awaitTunnels(nodes());
  });

  test("sends nothing in plaintext, says so, and encrypts again when the ports are free", async () => {
    const [node] = nodes();
    const [from, to] = pods();
    const record = () => wgJson<NodeRecord>(node, ["node", "show"]);
    const before = await record();
    const capture = await lab.capture("net 10.244.0.0/16");
    // The sockets of a device stay where it was made.
    node.script(["ip netns add elsewhere", ...devices.map((dev) => `ip link set ${dev} netns elsewhere`)]);
    const lost = await agent.waitFor("slot lost", soonMs);
    expect(lost.level).toBe("warn");
    await waitUntil(() => routeToPeer().startsWith("prohibit"), {
      what: () => `the route to the peer's pods refuses: ${routeToPeer()}`,
      timeoutMs: soonMs,
    });
    const seen = (await capture.tally()).packets.plaintext;
    expect((await ping(from, to.ip(4))).received).toBe(0);
    expect((await capture.tally()).packets.plaintext).toBe(seen);
    await capture.stop();
    const { peers } = await wgJson<{ peers: readonly { reach: string; intent: { reach: string } }[] }>(node, [
      "status",
    ]);
    expect(peers.map(({ reach, intent }) => [reach, intent.reach])).toEqual([["refused", "refused"]]);
    expect(await record()).toEqual(before);
    node.must(["ip", "netns", "delete", "elsewhere"]);
    await waitUntil(() => routeToPeer().includes("dev wg-cni-"), {
      what: () => `the peer is in the tunnel again: ${routeToPeer()}`,
      timeoutMs: soonMs,
    });
    await waitUntil(async () => (await ping(from, to.ip(4))).received === 3, {
      what: "the peer's pod answers",
      timeoutMs: soonMs,
    });
  });
});
