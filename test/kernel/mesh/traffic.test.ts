// Pods made by three kinds of chain talk over the mesh, and a capture of the
// wire sees nothing of it but WireGuard packets; over both underlays, in both
// families. Traffic within a node, and traffic between nodes themselves, stays out.
import { beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { NodeRecord } from "../../../src/net/record.ts";
import type { Capture } from "../../lab/capture.ts";
import type { Node } from "../../lab/node.ts";
import { repository } from "../../lab/paths.ts";
import type { Pod } from "../../lab/pod.ts";
import { readConfList } from "../../lab/runtime.ts";
import { ping } from "../../lab/traffic.ts";
import { withLab } from "../../lab/with-lab.ts";
import {
  addNode,
  devices,
  importPeers,
  ipJson,
  missing,
  wgDump,
  wgJson,
  wgMust,
} from "../support/mesh-reference.ts";

setDefaultTimeout(60_000);

const lists: Readonly<Record<string, string>> = {
  n1: "10-ptp.conflist",
  n2: "10-bridge.conflist",
  n3: "10-wg-cni.conflist",
};
const families = [4, 6] as const;

describe.skipIf(missing !== undefined).each(families)("traffic over an IPv%i underlay", (underlay) => {
  const lab = withLab(`traffic${underlay}`);
  let capture: Capture;
  const nodes: Node[] = [];
  /** Two on every node. */
  const pods: Pod[] = [];

  beforeAll(async () => {
    for (const index of [1, 2, 3]) nodes.push(await addNode(lab, index));
    const records: NodeRecord[] = [];
    for (const node of nodes) {
      const endpoint = node.upArguments.toSpliced(2, 2, "--endpoint", node.ip(underlay)!);
      await wgMust(node, ["up", ...endpoint]);
      records.push(await wgJson<NodeRecord>(node, ["node", "show"]));
    }
    for (const node of nodes) await importPeers(node, records);
    for (const node of nodes)
      for (const name of ["x", "y"]) {
        const pod = node.pod(`${name}${node.name}`);
        await node.runtime.add(readConfList(`${repository}/conf/${lists[node.name]}`), pod);
        pods.push(pod);
      }
    capture = await lab.capture();
  });
  const first = (index: number) => pods[2 * (index - 1)]!;
  const sentBytes = (node: Node) =>
    devices
      .flatMap((dev) =>
        ipJson<{ stats64: { tx: { bytes: number } } }>(node, "-s", "link", "show", "dev", dev),
      )
      .reduce((sum, { stats64 }) => sum + stats64.tx.bytes, 0);

  test.each(families)("pods of all chains reach each other, IPv%i", async (family) => {
    for (const from of pods)
      for (const to of pods)
        if (from !== to) expect(await ping(from, to.ip(family), { count: 2 })).toMatchObject({ received: 2 });
  });

  test.each(families)("nodes reach pods and pods reach nodes, IPv%i", async (family) => {
    for (const node of nodes)
      for (const pod of pods.filter((one) => one.node !== node)) {
        expect(await ping(node, pod.ip(family), { count: 2 })).toMatchObject({ received: 2 });
        expect(await ping(pod, node.ip(family)!, { count: 2 })).toMatchObject({ received: 2 });
      }
  });

  test("on the wire there was WireGuard and nothing else", async () => {
    const { packets } = await capture.tally();
    expect(packets).toMatchObject({ plaintext: 0, host: 0, other: 0 });
    // 36 pod pairs, 24 node-pod pairs, two families, two answered pings each.
    expect(packets.wireguard).toBeGreaterThan(200);
    for (const packet of await capture.packetsOf("wireguard")) {
      expect(packet.source?.includes(":")).toBe(underlay === 6);
      expect([51820, 51821]).toContain(packet.destinationPort!);
    }
  });

  test.each(families)(
    "a node's packets to a remote pod come from the node's own IPv%i address",
    async (family) => {
      const [from, to] = [nodes[0]!, first(2)];
      const [route] = ipJson<{ dev: string; prefsrc: string }>(from, "route", "get", to.ip(family));
      expect(route).toMatchObject({ dev: "wg-cni-a", prefsrc: from.ip(family)! });
      const filter = family === 4 ? "icmp[0] == 8" : "icmp6 and ip6[40] == 128";
      const tcpdump = to.start(["tcpdump", "-i", "eth0", "-n", "-c", "1", "--immediate-mode", filter]);
      await tcpdump.saidOnStderr("listening on");
      await ping(from, to.ip(family), { count: 1 });
      expect((await tcpdump.finished).stdout).toContain(` ${from.ip(family)} > ${to.ip(family)}: `);
    },
  );

  test.each(families)("a packet as large as the pod's route allows passes whole, IPv%i", async (family) => {
    const mtu = underlay === 4 ? 1440 : 1420;
    const size = mtu - (family === 4 ? 28 : 48);
    for (const [from, to] of [
      [first(1), first(2)],
      [first(2), first(3)],
      [first(3), first(1)],
    ] as const)
      expect(await ping(from, to.ip(family), { size, dontFragment: true })).toMatchObject({ received: 3 });
    expect((await capture.tally()).packets.plaintext).toBe(0);
  });

  test.each(families)("nodes reach each other outside the tunnel, IPv%i", async (family) => {
    const hostBefore = (await capture.tally()).packets.host;
    const before = sentBytes(nodes[0]!);
    expect(await ping(nodes[0]!, nodes[1]!.ip(family)!)).toMatchObject({ received: 3 });
    expect((await capture.tally()).packets.host).toBe(hostBefore + 6);
    expect(sentBytes(nodes[0]!)).toBe(before);
  });

  test.each(families)("pods of one node talk past the tunnel, IPv%i", async (family) => {
    for (const node of nodes) {
      const [x, y] = pods.filter((pod) => pod.node === node) as [Pod, Pod];
      const before = sentBytes(node);
      expect(await ping(x, y.ip(family))).toMatchObject({ received: 3 });
      expect(await ping(node, y.ip(family))).toMatchObject({ received: 3 });
      expect(sentBytes(node)).toBe(before);
    }
  });

  test("handshakes happened on slot a alone; slot b costs nothing", () => {
    for (const node of nodes) {
      const dump = wgDump(node);
      for (const peer of Object.values(dump["wg-cni-a"]!.peers)) expect(peer.handshake).toBeGreaterThan(0);
      for (const peer of Object.values(dump["wg-cni-b"]!.peers)) expect(peer.handshake).toBe(0);
    }
  });
});
