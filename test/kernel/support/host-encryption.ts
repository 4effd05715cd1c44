// Host encryption made by hand on the nodes of a lab: the other node's route
// into the tunnel, and the firewall's table, written by our own nftables code.

import { parseExemption } from "../../../src/net/exemption.ts";
import { familyOf } from "../../../src/net/ip.ts";
import { Nft } from "../../../src/netlink/nft/table.ts";
import { firewallTables } from "../../../src/plan/firewall/table.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import { tables } from "./mesh-reference.ts";
import { ourTable } from "./nft.ts";

export interface HostEncryption {
  /** The other node's addresses are routed into the tunnel. */
  readonly routed: boolean;
  /** The firewall knows of it; as `routed` unless told. */
  readonly known?: boolean;
  readonly strict?: boolean;
  readonly exempt?: readonly string[];
}

/** Makes a node send what is for the other into the tunnel, or no longer. */
export function encryptHost(node: Node, other: Node, how: HostEncryption): void {
  const { routed, known = routed, strict = false, exempt = [] } = how;
  node.script(
    other.nodeIps.map((ip) => {
      const family = familyOf(ip);
      const table = `table ${tables.pods}`;
      return routed
        ? `ip -${family} route replace ${ip} dev wg-cni-a src ${node.ip(family)} ${table}`
        : `ip -${family} route delete ${ip} dev wg-cni-a ${table} 2>/dev/null || true`;
    }),
  );
  using nftables = Nft.open(node.netns);
  const wanted = firewallTables({
    ...{ table: "wg-cni", devices: ["wg-cni-a", "wg-cni-b"], ports: [51820, 51821] },
    mark: { mark: 0x20000000, mask: 0x60000000 },
    ...{ pods: other.podCidrs, nodes: other.nodeIps, senders: other.nodeIps, uplinks: ["eth0"] },
    ...{ podsAreAnnounced: false, connections: true },
    ...{ own: node.nodeIps, localPods: node.podCidrs, clusterCIDRs: [] },
    ...{ strict, hostEncryption: known, exempt: exempt.map(parseExemption) },
  });
  for (const table of wanted) nftables.sync(table);
  if (!known) nftables.delete({ family: "arp", name: "wg-cni" });
}

/** Returns the packets to remote pods that a node's table has counted on their way out. */
export function countedOut(node: Node): number {
  using nftables = Nft.open(node.netns);
  const counters = nftables.counters(ourTable);
  const sum = (set: string) =>
    [...(counters.get(set)?.values() ?? [])].reduce((all, { packets }) => all + packets, 0);
  return sum("pods4_out") + sum("pods6_out");
}

/** Sends UDP to a port back to where it came from; resolves when it listens. */
export async function echoUdp(space: Namespaces, port: number): Promise<void> {
  const data = "data: (socket, bytes, port, address) => { socket.send(bytes, port, address); }";
  const script = `await Bun.udpSocket({ hostname: "::", port: ${port}, socket: { ${data} } }); console.error("listening");`;
  await space.start([process.execPath, "--smol", "-e", script]).saidOnStderr("listening");
}

/** True if the echo of one datagram comes back. */
export async function sendUdp(from: Namespaces, ip: string, port: number): Promise<boolean> {
  const exchange = 'exec 3<>"/dev/udp/$0/$1" && echo hello >&3 && [ "$(head -n 1 <&3)" = hello ]';
  return (await from.run(["timeout", "5", "bash", "-c", exchange, ip, `${port}`])).exitCode === 0;
}
