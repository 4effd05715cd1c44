// The site of the attacks: two nodes with two pods each, a hostile node of the mesh, and machines in the two
// networks. Sends what was drawn, and says where it was seen.
//
//   wire ─── eth0 ┬ node 1 ┬── pod, neighbour pod: standalone
//                 │        └── wg-cni-a, wg-cni-b ── node 2, attacker
//   lan N ── eth1 ┘
//   node 2 is the same with chained pods; the attacker is root of node 3, whose tunnels take any source

import { readFileSync } from "node:fs";
import type { Family } from "../../../src/net/ip.ts";
import { frame } from "../../kernel/security/support/frames.ts";
import { addPod, roles, setReversePath } from "../../kernel/support/hosts.ts";
import { addNode, ipJson, wgDump, wgMust } from "../../kernel/support/mesh-reference.ts";
import { macOf } from "../../kernel/support/spoofer.ts";
import type { Lab } from "../../lab/lab.ts";
import { joinMesh } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import type { Attack, Host, Settings } from "./draw.ts";
import { buildPackets } from "./packet.ts";
import type { Seen } from "./rules.ts";
import { LinkSender, sendRaw, Witness } from "./sockets.ts";

const clusterCIDRs = "10.244.0.0/16,fd00:10:244::/48";
const etherTypes = { 4: 0x0800, 6: 0x86dd } as const;
const outsiderMac = "02:00:00:00:00:bd";
const podNames = ["pod", "neighbour pod"] as const;
/** The hostile node reaches each of the two nodes by a slot of its own, so that it may address any host by it. */
const hostileSlot = { 1: "wg-cni-a", 2: "wg-cni-b" } as const;

const elsewhere: Partial<Record<Host, Readonly<Record<Family, string>>>> = {
  "attacker's pod": { 4: "10.244.3.77", 6: "fd00:10:244:3::77" },
  unannounced: { 4: "10.244.200.9", 6: "fd00:10:244:200::9" },
  gateway: { 4: "192.0.2.254", 6: "2001:db8::fe" },
  world: { 4: "203.0.113.9", 6: "2001:db8:113::9" },
  loopback: { 4: "127.0.0.1", 6: "::1" },
  multicast: { 4: "224.0.0.1", 6: "ff02::1" },
  "link-local": { 4: "169.254.1.1", 6: "fe80::1" },
  unspecified: { 4: "0.0.0.0", 6: "::" },
};

interface Side {
  readonly node: Node;
  readonly pods: readonly [Pod, Pod];
  readonly senders: Readonly<Record<"pod" | "wire" | "lan" | "tunnel", LinkSender>>;
}

export class Site {
  readonly #witnesses: { readonly witness: Witness; readonly place: (at: string) => string | undefined }[] =
    [];

  private constructor(
    private readonly lab: Lab,
    private readonly sides: readonly [Side, Side],
    private readonly hostile: Node,
  ) {}

  static async create(lab: Lab): Promise<Site> {
    const nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)] as const;
    for (const [index, node] of nodes.slice(0, 2).entries()) addLan(lab, node, index + 1);
    await joinMesh(nodes, ["--cluster-cidrs", clusterCIDRs]);
    const [n1, n2, hostile] = nodes;
    const pods: (readonly [Pod, Pod])[] = [];
    for (const [index, node] of [n1, n2].entries())
      pods.push([
        await addPod(node, `p${index + 1}`, roles[1 - index] as (typeof roles)[number]),
        await addPod(node, `q${index + 1}`, roles[1 - index] as (typeof roles)[number]),
      ] as const);
    turnHostile(hostile, [n1, n2]);
    const sides = [n1, n2].map((node, i) =>
      sideOf(lab, node, pods[i] as readonly [Pod, Pod], hostile, (i + 1) as 1 | 2),
    );
    const site = new Site(lab, sides as [Side, Side], hostile);
    site.#watch();
    // Neighbours are known, and sessions are there.
    for (const family of [4, 6] as const)
      for (const side of site.sides)
        for (const to of ["neighbour pod", "this node", "peer's pod", "peer"] as const)
          await ping(side.pods[0], site.address(to, side === site.sides[0] ? 1 : 2, family));
    return site;
  }

  async set({ mode, rpFilter, sourceRoutes, routeLocalnet }: Settings): Promise<void> {
    for (const { node } of this.sides) {
      await wgMust(node, ["up", "--mode", mode]);
      setReversePath(node, rpFilter);
      const [taken, local] = [Number(sourceRoutes), Number(routeLocalnet)];
      node.script([
        "cd /proc/sys/net",
        `for f in ipv4/conf/*/accept_source_route ipv6/conf/*/accept_source_route ipv6/conf/*/*seg*_enabled; do echo ${taken} >$f; done`,
        `for f in ipv4/conf/*/route_localnet; do echo ${local} >$f; done`,
      ]);
    }
  }

  /** Takes the rules away that judge packets; `set` makes them again. */
  disarm(): void {
    for (const { node } of this.sides)
      node.script(["nft delete table inet wg-cni", "nft delete table inet wg-cni-pods || true"]);
  }

  /** Sends the packets of an attack, in the order of its fragments. */
  send(attack: Attack, id: number): void {
    const { place, node, family, transport, shape, via, by, mark, dev } = attack;
    const address = (host: Host) => this.address(host, node, family);
    const to = address(attack.to);
    const first = {
      ...(via === undefined ? {} : { via: address(via) }),
      ...(by === undefined ? {} : { by: address(by) }),
    };
    const packets = buildPackets({ from: address(attack.from), to, ...first, transport, shape, id });
    const side = this.sides[node - 1] as Side;
    if (place === "host")
      sendRaw(side.node.netns, {
        ...{ to: first.via ?? to, packets },
        ...(mark === undefined ? {} : { mark }),
        ...(dev === undefined ? {} : { dev }),
      });
    else for (const packet of packets) side.senders[place].send(packet);
  }

  /** Returns what was seen since the last time, without what attackers see themselves. */
  seen(): Seen[] {
    return this.#witnesses.flatMap(({ witness, place }) =>
      witness.read().flatMap((sighting) => {
        const at = place(sighting.at);
        return at === undefined ? [] : [{ ...sighting, at }];
      }),
    );
  }

  address(host: Host, index: 1 | 2, family: Family): string {
    const own = this.sides[index - 1] as Side;
    const other = this.sides[2 - index] as Side;
    switch (host) {
      case "pod":
        return own.pods[0].ip(family);
      case "neighbour pod":
        return own.pods[1].ip(family);
      case "this node":
        return own.node.ip(family) as string;
      case "peer's pod":
        return other.pods[0].ip(family);
      case "peer":
        return other.node.ip(family) as string;
      case "further address":
        return furtherAddresses(index)[family];
      case "attacker":
        return this.hostile.ip(family) as string;
      default:
        return (elsewhere[host] as Record<Family, string>)[family];
    }
  }

  [Symbol.dispose](): void {
    for (const { witness } of this.#witnesses) witness[Symbol.dispose]();
    for (const { senders } of this.sides)
      for (const sender of Object.values(senders)) sender[Symbol.dispose]();
  }

  #watch(): void {
    const wire = netnsOf(this.lab.wire);
    this.#add(this.lab.wire, wire, false, (at) =>
      /^in n[12]$/.test(at) ? `wire ${at.slice(-1)}` : undefined,
    );
    for (const [i, { node, pods }] of this.sides.entries()) {
      const tunnel = (at: string) => (at.startsWith("out wg-cni-") ? `tunnel ${i + 1}` : undefined);
      this.#add(node, node.netns, true, (at) => (at === "local" ? `local ${i + 1}` : tunnel(at)));
      for (const [n, pod] of pods.entries())
        this.#add(pod, pod.netnsOutside, false, (at) =>
          at === "in eth0" ? `pod ${i + 1}/${podNames[n]}` : undefined,
        );
    }
  }

  #add(space: Namespaces, netns: string, local: boolean, place: (at: string) => string | undefined): void {
    const names = new Map(ipJson(space, "link").map((link) => [link["ifindex"], link["ifname"] as string]));
    const witness = new Witness(netns, space.label, (index) => names.get(index) ?? "", local);
    this.#witnesses.push({ witness, place });
  }
}

function sideOf(lab: Lab, node: Node, pods: readonly [Pod, Pod], hostile: Node, index: 1 | 2): Side {
  const [pod] = pods;
  const hostEnd = node.must(["ip", "-o", "route", "get", pod.ip(4)]).split(" ")[2] as string;
  const ethernet = (from: string, to: string) => (family: Family) =>
    frame({ from, to }, etherTypes[family], new Uint8Array());
  const wire = netnsOf(lab.wire);
  const sender = (space: Namespaces, netns: string, dev: string, header?: (family: Family) => Uint8Array) =>
    new LinkSender(netns, ipJson(space, "link", "show", "dev", dev)[0]?.["ifindex"] as number, header);
  return {
    ...{ node, pods },
    senders: {
      pod: sender(pod, pod.netnsOutside, "eth0", ethernet(macOf(pod, "eth0"), macOf(node, hostEnd))),
      wire: sender(lab.wire, wire, node.name, ethernet(outsiderMac, macOf(node, "eth0"))),
      lan: sender(lab.wire, wire, `lan${index}`, ethernet(outsiderMac, macOf(node, "eth1"))),
      tunnel: sender(hostile, hostile.netns, hostileSlot[index]),
    },
  };
}

function addLan(lab: Lab, node: Node, index: number): void {
  lab.wire.script([
    `ip link add lan${index} type veth peer name eth1 netns ${node.innerPid}`,
    `ip link set lan${index} up`,
  ]);
  const { 4: ip4, 6: ip6 } = furtherAddresses(index);
  node.script([
    `ip address add ${ip4}/24 dev eth1 && ip address add ${ip6}/64 dev eth1 nodad`,
    "ip link set eth1 up",
  ]);
}

/** Of the node in the other network. */
function furtherAddresses(index: number): Readonly<Record<Family, string>> {
  return { 4: `198.18.9.${index}`, 6: `2001:db8:99::${index}` };
}

/** Its devices send whatever comes to one node, and take whatever comes from there. */
function turnHostile(hostile: Node, nodes: readonly [Node, Node]): void {
  for (const [i, node] of nodes.entries()) {
    const dev = hostileSlot[(i + 1) as 1 | 2];
    const key = publicKeyOf(node, dev);
    const other = publicKeyOf(nodes[1 - i] as Node, dev);
    hostile.must(["wg", "set", dev, "peer", other, "remove", "peer", key, "allowed-ips", "0.0.0.0/0,::/0"]);
  }
}

function publicKeyOf(node: Node, dev: string): string {
  return (wgDump(node)[dev] as { publicKey: string }).publicKey;
}

/** Of the wire, as the test process reaches it. */
function netnsOf(wire: Namespaces): string {
  const pid = wire.enter[1] as string;
  readFileSync(`/proc/${pid}/comm`);
  return `/proc/${pid}/ns/net`;
}
