// Two nodes exchange their addresses, as a cloud's restart or DHCP does, while pods of three nodes
// talk to each other. For a moment each of the two has a peer whose recorded endpoint is its own
// address, and the third sees two claims to one address. What cannot be sent is lost; nothing of a
// pod is ever in plaintext, and everything is encrypted again once the records say where everybody is.
//
//   n1 192.0.2.1 ──┬── wire
//   n2 192.0.2.2 ──┤ ◄─┐ exchanged
//   n3 192.0.2.3 ──┘ ◄─┘
//
// The witnesses are a capture of the wire and packets counted at their receivers.
import { beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import type { Agent } from "../../lab/agent.ts";
import type { Capture } from "../../lab/capture.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { eachWay, flow, losses, Streams } from "../../lab/stream.ts";
import { waitUntil } from "../../lab/wait.ts";
import { withLabPerTest } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, setReversePath } from "../support/hosts.ts";
import { addNode, wgJson, wgMust } from "../support/mesh-reference.ts";

const families = [4, 6] as const;
/** A handshake takes milliseconds, its reading a second, a lost first try five; two cores may be busy. */
const openMs = 60_000;
/** How long the addresses are exchanged and the records are not: several looks of each agent. */
const betweenMs = 4000;
const rate = 50;

function moveTo(node: Node, [ip4, ip6]: readonly string[]): void {
  node.script([
    `ip address add ${ip4}/24 dev eth0`,
    `ip address add ${ip6}/64 dev eth0 nodad`,
    "ip route replace default via 192.0.2.254 dev eth0",
    "ip route replace default via 2001:db8::fe dev eth0",
  ]);
}

function upAt(node: Node, ips: readonly string[]): Promise<unknown> {
  const nodeIPs = ips.flatMap((ip) => ["--node-ip", ip]);
  return wgMust(node, ["up", "--endpoint", ips[0] as string, ...nodeIPs]);
}

interface PeerShown {
  readonly name: string;
  readonly state: string;
  readonly slot?: string;
}

describeKernel("addresses that move between nodes", () => {
  setDefaultTimeout(200_000);
  const lab = withLabPerTest("moved");
  let nodes: Node[];
  let pods: Pod[];
  let agents: readonly Agent[];
  let capture: Capture;

  beforeEach(async () => {
    nodes = [];
    for (const index of [1, 2, 3]) nodes.push(await addNode(lab, index));
  });

  const join = async (mode: string) => {
    const upOptions = ["--mode", mode, "--cluster-cidrs", "10.244.0.0/16,fd00:10:244::/48"];
    ({ agents } = await joinByRecords(nodes, { upOptions }));
    await everybodyEncrypts();
    for (const node of nodes) setReversePath(node, 1);
    pods = await addPods(nodes);
    capture = await lab.capture();
  };
  const peersOf = async (node: Node) =>
    (JSON.parse((await node.wg(["status", "--json"])).stdout) as { peers: readonly PeerShown[] }).peers;
  const everybodyEncrypts = () =>
    waitUntil(
      async () => {
        const all = await Promise.all(nodes.map(peersOf));
        return all.every((peers) => peers.length === 2 && peers.every(({ slot }) => slot !== undefined));
      },
      { what: "all nodes reach each other through the tunnel", timeoutMs: openMs, everyMs: 200 },
    );
  const pairs = () =>
    [
      [pods[0], pods[1]],
      [pods[0], pods[2]],
      [pods[1], pods[2]],
    ] as [Pod, Pod][];
  const answers = async () => {
    const streams = await Streams.start(
      families.flatMap((family) => eachWay(pairs(), family)),
      { rate },
    );
    await Bun.sleep(500);
    return losses(await streams.stop());
  };

  test.each(["permissive", "strict"])(
    "%s: two nodes exchange their addresses under streams: none in plaintext, and all encrypted in the end",
    async (mode) => {
      await join(mode);
      expect(await answers()).toEqual({});
      const [, n2, n3] = nodes as [Node, Node, Node];
      const toHosts = [n2, n3].map((node) => flow(pods[0] as Pod, node, 4));
      const streams = await Promise.all(
        families.map((f) =>
          Streams.start([...eachWay(pairs(), f), ...(f === 4 ? toHosts : [])], { rate, mayLose: true }),
        ),
      );
      await Bun.sleep(1000);
      const [at2, at3] = [n2, n3].map(({ nodeIps }) => nodeIps) as [string[], string[]];
      for (const node of [n2, n3]) node.script(["ip address flush dev eth0 scope global"]);
      // In plaintext, packets would leave by the default route: the capture sees them there.
      moveTo(n2, at3);
      moveTo(n3, at2);
      // One after the other: in between, one node claims what the other's record still has.
      await upAt(n2, at3);
      await Bun.sleep(betweenMs);
      await upAt(n3, at2);
      await waitUntil(async () => Object.keys(await answers()).length === 0, {
        what: "all pods reach each other again",
        timeoutMs: openMs,
        everyMs: 500,
      });
      await Promise.all(streams.map((one) => one.stop()));
      const plaintext = await capture.packetsOf("plaintext");
      expect(plaintext.map(({ source, destination, protocol }) => [source, destination, protocol])).toEqual(
        [],
      );
      for (const agent of agents) expect(agent.lines().filter((line) => line.why === "keyless")).toEqual([]);
      await everybodyEncrypts();
    },
  );

  test("a neighbour's address is refused by `up`, and a record that claims it changes nothing for the neighbour", async () => {
    await join("permissive");
    const [n1, n2] = nodes as [Node, Node, Node];
    const streams = await Streams.start(eachWay(pairs(), 4), { rate });
    const before = await wgJson(n1, ["node", "show"]);
    for (const args of [
      ["--node-ip", n2.ip(4) as string],
      ["--node-ip", n2.ip(6) as string],
      ["--pod-cidr", "10.244.2.128/25"],
    ]) {
      const refused = await n1.wg(["up", ...args]);
      expect([refused.exitCode, refused.stderr]).toEqual([2, expect.stringContaining("n2's")]);
    }
    expect(await wgJson(n1, ["node", "show"])).toEqual(before);
    // The control: its own further address is taken.
    n1.script(["ip address add 192.0.2.77/24 dev eth0"]);
    const own = n1.nodeIps.flatMap((ip) => ["--node-ip", ip]);
    await wgMust(n1, ["up", ...own, "--node-ip", "192.0.2.77"]);
    expect((await streams.stop()).map(({ sent, received }) => sent - received)).toEqual([0, 0, 0, 0, 0, 0]);
    expect((await capture.tally()).packets.plaintext).toBe(0);
  });
});
