// The tests of forged sources share a node between two networks, with two pods of its own, and captures of
// the packets that have passed its rules.
//
//   wire, attacker ── eth0 ┬ n1 ┬── p1, the target
//   lan2, attacker ── eth1 ┘    ├── evil, a pod that may open raw sockets
//                               └── behind: a network that is nobody's of the mesh
import type { Family } from "../../../src/net/ip.ts";
import { Nft } from "../../../src/netlink/nft/table.ts";
import type { Lab } from "../../lab/lab.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { addPod } from "./hosts.ts";
import { addNode } from "./mesh-reference.ts";
import { ourTable } from "./nft.ts";
import { type Claim, macOf, spoof } from "./spoofer.ts";

export const families = [4, 6] as const;
/** A host behind the node, and one of the world. */
const behind = { 4: "198.51.100.7", 6: "2001:db8:51::7" } as const;
const world = { 4: "203.0.113.9", 6: "2001:db8:113::9" } as const;
/** The node translates it to the pod's. */
const service = { 4: "198.18.0.1", 6: "2001:db8:18::1" } as const;
/** Of a network that this node has an interface in. */
const unlinked = { 4: "198.51.100.77", 6: "2001:db8:51::77" } as const;
/** Of the cluster's pods, and of no node's. */
const unrecorded = { 4: "10.244.200.9", 6: "fd00:10:244:200::9" } as const;
const clusterCIDRs = "10.244.0.0/16,fd00:10:244::/48";

/** The origins of packets: the network of the nodes, another one, a pod of the node. */
export const origins = ["eth0", "eth1", "pod"] as const;
export type Origin = (typeof origins)[number];

export interface Arrivals {
  readonly lab: Lab;
  readonly n1: Node;
  readonly n2: Node;
  /** The node's end of the hostile pod's link. */
  readonly evilDev: string;
  /** A packet of each name. The names of those that got beyond n1's rules. */
  readonly knock: (origin: Origin) => string[];
  /** Names of all packets that are sent: IPv4's, then IPv6's. */
  readonly names: readonly string[];
  /** Returns the counters of n1's table by set and element, without those at 0. */
  readonly counted: () => Record<string, number>;
}

export async function arrivals(lab: Lab): Promise<Arrivals> {
  const n1 = await addNode(lab, 1);
  const n2 = await addNode(lab, 2);
  await joinMesh([n1, n2], ["--cluster-cidrs", clusterCIDRs]);
  const [p1, evil] = [await addPod(n1, "p1", "chained"), await addPod(n1, "evil", "chained")];
  surround(lab, n1, p1);
  const evilDev = n1.must(["ip", "-o", "route", "get", evil.ip(4)]).split(" ")[2] as string;
  const from: Record<Origin, [Namespaces, string, string]> = {
    eth0: [lab.wire, "br0", macOf(n1, "eth0")],
    eth1: [lab.wire, "lan2", macOf(n1, "eth1")],
    pod: [evil, "eth0", macOf(n1, evilDev)],
  };
  const claims = families.flatMap((family) => claimsOf(family, { n1, n2, p1, evil }));
  const knock = (origin: Origin) => {
    n1.script(["nft flush set inet witness reached"]);
    spoof(
      ...from[origin],
      claims.map((claim, i) => ({ ...claim, port: firstPort + i })),
    );
    const seen = n1.must(["nft", "list", "set", "inet", "witness", "reached"]).matchAll(/\b40\d{3}\b/g);
    const ports = new Set([...seen].map(([port]) => Number(port)));
    return claims.filter((_, i) => ports.has(firstPort + i)).map(({ name }) => name);
  };
  const names = claims.map(({ name }) => name);
  return { lab, n1, n2, evilDev, knock, names, counted: () => counted(n1) };
}

/** True for a packet that is to leave again, to a peer or its pods. */
export function isOutgoing(name: string): boolean {
  return /-> (a peer's pod|peer)$/.test(name);
}

const firstPort = 40_000;

interface Hosts {
  readonly n1: Node;
  readonly n2: Node;
  readonly p1: Pod;
  readonly evil: Pod;
}

function claimsOf(family: Family, { n1, n2, p1, evil }: Hosts): (Omit<Claim, "port"> & { name: string })[] {
  const to = { node: n1.ip(family) as string, pod: p1.ip(family), behind: behind[family] };
  const peer = n2.ip(family) as string;
  const peersPod = family === 4 ? "10.244.2.77" : "fd00:10:244:2::77";
  const claims: Record<string, Omit<Claim, "port">> = {
    "a peer's pod -> pod": { from: peersPod, to: to.pod },
    "a peer's pod -> node": { from: peersPod, to: to.node },
    "a peer's pod -> behind": { from: peersPod, to: to.behind },
    "peer -> pod": { from: peer, to: to.pod },
    "peer -> pod, of no connection": { from: peer, to: to.pod, protocol: "tcp" },
    "peer -> behind": { from: peer, to: to.behind },
    "peer -> service": { from: peer, to: service[family] },
    "peer -> node": { from: peer, to: to.node },
    "local pod -> pod": { from: to.pod, to: evil.ip(family) },
    "local pod -> node": { from: to.pod, to: to.node },
    "unrecorded -> pod": { from: unrecorded[family], to: to.pod },
    "unrecorded -> node": { from: unrecorded[family], to: to.node },
    "node itself -> pod": { from: to.node, to: to.pod },
    "node itself -> node": { from: to.node, to: to.node },
    "the world -> a peer's pod": { from: world[family], to: peersPod },
    "the world -> peer": { from: world[family], to: peer },
    "unlinked -> a peer's pod": { from: unlinked[family], to: peersPod },
    "the world -> pod": { from: world[family], to: to.pod },
    "the world -> node": { from: world[family], to: to.node },
  };
  return Object.entries(claims).map(([name, claim]) => ({ ...claim, name: `IPv${family} ${name}` }));
}

function surround(lab: Lab, node: Node, p1: Pod): void {
  lab.wire.script([
    `ip link add lan2 type veth peer name eth1 netns ${node.innerPid}`,
    "ip link set lan2 up",
  ]);
  node.script([
    "ip address add 198.18.9.1/24 dev eth1 && ip address add 2001:db8:99::1/64 dev eth1 nodad",
    "ip link set eth1 up",
    "ip link add behind type bridge && ip link set behind up",
    "ip address add 198.51.100.1/24 dev behind && ip address add 2001:db8:51::1/64 dev behind nodad",
  ]);
  const witness = [
    "add table inet proxy",
    "add chain inet proxy prerouting { type nat hook prerouting priority dstnat; }",
    `add rule inet proxy prerouting ip daddr ${service[4]} dnat ip to ${p1.ip(4)}`,
    `add rule inet proxy prerouting ip6 daddr ${service[6]} dnat ip6 to ${p1.ip(6)}`,
    "add table inet witness",
    "add set inet witness reached { type inet_service; flags dynamic; }",
    ...["input", "forward"].flatMap((hook) => [
      `add chain inet witness ${hook} { type filter hook ${hook} priority 1000; }`,
      `add rule inet witness ${hook} th dport 40000-40099 add @reached { th dport }`,
    ]),
  ];
  node.must(["nft", "-f", "-"], { stdin: `${witness.join("\n")}\n` });
}

function counted(node: Node): Record<string, number> {
  using nftables = Nft.open(node.netns);
  const found: Record<string, number> = {};
  for (const [set, counters] of nftables.counters(ourTable))
    for (const [element, { packets }] of counters) if (packets > 0) found[`${set} ${element}`] = packets;
  return found;
}
