// A network that carries IPv6 but no tunnel over it: a handshake never comes from a node's IPv6 address, so it
// is never proven. Each node is the next hop of the route to its pods, as with static routes, host-gw or BGP.
// The peer may send from that address all the same: no packet between hosts and pods is lost, before the gate
// opens and behind it, and no address attracts traffic.
//
//   p1 ── n1 ──── br0, which drops WireGuard over IPv6 ──── n2 ── p2
import { beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { knowsPeers, upWithRecords } from "../../lab/mesh.ts";
import type { Node } from "../../lab/node.ts";
import { pathStreams } from "../../lab/path-matrix.ts";
import type { Pod } from "../../lab/pod.ts";
import { losses } from "../../lab/stream.ts";
import { withLab } from "../../lab/with-lab.ts";
import { describeKernel } from "../support/gate.ts";
import { addPods, awaitTunnels } from "../support/hosts.ts";
import { addNode, routeLines, tables, wgDump } from "../support/mesh-reference.ts";

setDefaultTimeout(120_000);

/** With open gates, the paths are used for as long: long enough for passes and probes of the agents. */
const behindMs = 5000;

describeKernel("a node IP that no handshake can prove", () => {
  const lab = withLab("unproven");
  let nodes: [Node, Node];
  let pods: Pod[];

  beforeAll(async () => {
    nodes = [await addNode(lab, 1), await addNode(lab, 2)];
    lab.wire.must(["nft", "-f", "-"], {
      stdin: `table bridge no-tunnels {
        chain forward {
          type filter hook forward priority 0
          ether type ip6 udp dport { 51820, 51821 } drop
        }
      }`,
    });
    for (const node of nodes) await upWithRecords(node);
    pods = await addPods(nodes);
  });

  test("no packet of hosts and pods is lost while the gates open, nor behind them", async () => {
    const [p1, p2] = pods as [Pod, Pod];
    const streams = await Promise.all(([4, 6] as const).map((family) => pathStreams(p1, p2, family)));
    for (const node of nodes) await node.agent();
    await Promise.all(nodes.map((node) => knowsPeers(node, nodes)));
    await awaitTunnels(nodes);
    await Bun.sleep(behindMs);
    expect(losses((await Promise.all(streams.map((one) => one.stop()))).flat())).toEqual({});
  });

  test("the devices take packets from the address, and no route leads to it", () => {
    for (const [at, node] of nodes.entries()) {
      const address = nodes[1 - at]?.ip(6) as string;
      for (const { peers } of Object.values(wgDump(node)))
        for (const { allowedIPs } of Object.values(peers)) expect(allowedIPs).toContain(`${address}/128`);
      const led = Object.values(tables).flatMap((table) => routeLines(node, 6, table));
      expect(led.filter((line) => line.startsWith(`${address} `) && line.includes("wg-cni"))).toEqual([]);
    }
  });
});
