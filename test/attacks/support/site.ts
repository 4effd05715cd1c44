// The site of the attacks: two nodes with two pods each, a hostile node of the mesh, and machines in the two
// networks. Sends what was drawn, and says where it was seen.
//
//   wire ─── eth0 ┬ node 1 ┬── pod, neighbour pod: a standalone and a chained one
//                 │        └── wg-cni-a, wg-cni-b ── node 2, attacker
//   lan N ── eth1 ┘
//   node 2 is the same; the attacker is root of node 3, whose tunnels take any source. All have an agent.
import { readFileSync } from "node:fs";
import type { Family } from "../../../src/net/ip.ts";
import { frame } from "../../kernel/security/support/frames.ts";
import { addPod, awaitTunnels, type Role, roles } from "../../kernel/support/hosts.ts";
import { addNode, ipJson } from "../../kernel/support/mesh-reference.ts";
import { macOf } from "../../kernel/support/spoofer.ts";
import type { Agent } from "../../lab/agent.ts";
import type { Lab } from "../../lab/lab.ts";
import { joinByRecords } from "../../lab/mesh.ts";
import type { Namespaces } from "../../lab/namespaces.ts";
import type { Node } from "../../lab/node.ts";
import type { Pod } from "../../lab/pod.ts";
import { ping } from "../../lab/traffic.ts";
import { Deeds } from "./deeds.ts";
import type { Attack, Host, Settings } from "./draw.ts";
import { Hostile } from "./hostile.ts";
import { buildPackets } from "./packet.ts";
import { Recorder } from "./replay.ts";
import type { Seen } from "./rules.ts";
import { applySettings } from "./settings.ts";
import { LinkSender, sendRaw, Witness } from "./sockets.ts";

const clusterCIDRs = "10.244.0.0/16,fd00:10:244::/48";
const etherTypes = { 4: 0x0800, 6: 0x86dd } as const;
const outsiderMac = "02:00:00:00:00:bd";

/** An address in the network of the nodes. Nothing listens there, and a refused connection is an answer. */
const controlPlane = "192.0.2.253";
const deadManSeconds = 2;

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
  readonly pods: Readonly<Record<Role, Pod>>;
  readonly senders: Readonly<Record<Role | "wire" | "lan", LinkSender>>;
}

export class Site {
  readonly deeds: Deeds;
  readonly #witnesses: { readonly witness: Witness; readonly place: (at: string) => string | undefined }[] =
    [];
  readonly #recorder = new Recorder();
  #roles: Settings["roles"] = ["standalone", "chained"];

  private constructor(
    private readonly lab: Lab,
    private readonly sides: readonly [Side, Side],
    agents: [Agent, Agent],
    private readonly hostile: Hostile,
  ) {
    const [one, other] = sides;
    this.deeds = new Deeds(
      [one.node, other.node],
      agents,
      hostile,
      async (random) => {
        for (const { node, senders } of sides)
          await this.#recorder.replay(node, random, (packet) => senders.wire.send(packet));
      },
      (answers) => setControlPlane(lab, answers),
    );
  }

  static async create(lab: Lab): Promise<Site> {
    const nodes = [await addNode(lab, 1), await addNode(lab, 2), await addNode(lab, 3)] as const;
    const [n1, n2, n3] = nodes;
    for (const [index, node] of [n1, n2].entries()) addLan(lab, node, index + 1);
    setControlPlane(lab, true);
    const mesh = await joinByRecords(nodes, {
      upOptions: [
        ...["--cluster-cidrs", clusterCIDRs, "--control-plane", `${controlPlane}:6443`],
        ...["--dead-man-timeout", `${deadManSeconds}s`],
      ],
    });
    const [a1, a2, a3] = mesh.agents as [Agent, Agent, Agent];
    const pods = [await addPodsOf(n1, 1), await addPodsOf(n2, 2)] as const;
    await awaitTunnels(nodes);
    const sides = [sideOf(lab, n1, pods[0], 1), sideOf(lab, n2, pods[1], 2)] as const;
    const site = new Site(lab, sides, [a1, a2], new Hostile(n3, a3, mesh.recordsDir));
    site.#watch();
    // Neighbours are known, and sessions are there.
    for (const family of [4, 6] as const)
      for (const [index, side] of sides.entries())
        for (const to of ["pod", "neighbour pod", "this node", "peer's pod", "peer"] as const)
          for (const role of roles)
            await ping(side.pods[role], site.address(to, (index + 1) as 1 | 2, family));
    return site;
  }

  async set(settings: Settings): Promise<void> {
    this.#roles = settings.roles;
    this.hostile.forgetAims();
    const nodes = this.sides.map(({ node }) => node);
    await applySettings(
      nodes,
      (node) => [...nodes.filter((one) => one !== node), this.hostile.node],
      settings,
    );
  }

  /** Makes the attacker ready once more: keys may have changed meanwhile. */
  again(): void {
    this.hostile.forgetAims();
  }

  /** Takes the rules away that judge packets; `set` makes them again. */
  disarm(): void {
    for (const { node } of this.sides)
      node.script(["nft delete table inet wg-cni", "nft delete table inet wg-cni-pods || true"]);
  }

  /** Sends the packets of an attack, in the order of its fragments. */
  send(attack: Attack, id: number): void {
    const { place, node, family, transport, shape, via, by, mark, dev, slot = "a" } = attack;
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
    else if (place === "tunnel") for (const packet of packets) this.hostile.send(packet, slot, side.node);
    else {
      const sender = side.senders[place === "pod" ? this.#roleOf(node, "pod") : place];
      for (const packet of packets) sender.send(packet);
    }
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
      case "neighbour pod":
        return own.pods[this.#roleOf(index, host)].ip(family);
      case "this node":
        return own.node.ip(family) as string;
      case "peer's pod":
        return other.pods[this.#roleOf((3 - index) as 1 | 2, "pod")].ip(family);
      case "peer":
        return other.node.ip(family) as string;
      case "further address":
        return furtherAddresses(index)[family];
      case "attacker":
        return this.hostile.node.ip(family) as string;
      default:
        return (elsewhere[host] as Record<Family, string>)[family];
    }
  }

  [Symbol.dispose](): void {
    for (const { witness } of this.#witnesses) witness[Symbol.dispose]();
    for (const { senders } of this.sides)
      for (const sender of Object.values(senders)) sender[Symbol.dispose]();
    this.hostile[Symbol.dispose]();
  }

  #roleOf(index: 1 | 2, pod: "pod" | "neighbour pod"): Role {
    const role = this.#roles[index - 1] as Role;
    if (pod === "pod") return role;
    return role === "chained" ? "standalone" : "chained";
  }

  #watch(): void {
    const wire = netnsOf(this.lab.wire);
    const onWire = (at: string) => (/^in n[12]$/.test(at) ? `wire ${at.slice(-1)}` : undefined);
    this.#add(this.lab.wire, wire, false, onWire, (packet) => this.#recorder.note(packet));
    for (const [i, { node, pods }] of this.sides.entries()) {
      const index = (i + 1) as 1 | 2;
      const tunnel = (at: string) => (at.startsWith("out wg-cni-") ? `tunnel ${index}` : undefined);
      this.#add(node, node.netns, true, (at) => (at === "local" ? `local ${index}` : tunnel(at)));
      for (const role of roles) {
        const name = () => (this.#roleOf(index, "pod") === role ? "pod" : "neighbour pod");
        const ofPod = (at: string) => (at === "in eth0" ? `pod ${index}/${name()}` : undefined);
        this.#add(pods[role], pods[role].netnsOutside, false, ofPod);
      }
    }
  }

  #add(
    space: Namespaces,
    netns: string,
    local: boolean,
    place: (at: string) => string | undefined,
    onPacket?: (packet: Uint8Array) => void,
  ): void {
    const names = new Map<number, string>();
    // A device may have been made since.
    const nameOf = (index: number) => {
      if (!names.has(index))
        for (const link of ipJson(space, "link"))
          names.set(link["ifindex"] as number, link["ifname"] as string);
      return names.get(index) ?? "";
    };
    this.#witnesses.push({ witness: new Witness(netns, space.label, nameOf, local, onPacket), place });
  }
}

/** A pod of each role. Both networks give addresses of the same CIDRs, so one of them begins later. */
async function addPodsOf(node: Node, index: 1 | 2): Promise<Record<Role, Pod>> {
  const firstIps = [`10.244.${index}.100`, `fd00:10:244:${index}::100`];
  return {
    standalone: await addPod(node, `p${index}`, "standalone"),
    chained: await addPod(node, `q${index}`, "chained", firstIps),
  };
}

function sideOf(lab: Lab, node: Node, pods: Readonly<Record<Role, Pod>>, index: 1 | 2): Side {
  const ethernet = (from: string, to: string) => (family: Family) =>
    frame({ from, to }, etherTypes[family], new Uint8Array());
  const wire = netnsOf(lab.wire);
  const sender = (space: Namespaces, netns: string, dev: string, header: (family: Family) => Uint8Array) =>
    new LinkSender(netns, ipJson(space, "link", "show", "dev", dev)[0]?.["ifindex"] as number, header);
  const ofPod = (pod: Pod) => {
    const hostEnd = node.must(["ip", "-o", "route", "get", pod.ip(4)]).split(" ")[2] as string;
    return sender(pod, pod.netnsOutside, "eth0", ethernet(macOf(pod, "eth0"), macOf(node, hostEnd)));
  };
  return {
    ...{ node, pods },
    senders: {
      ...{ standalone: ofPod(pods.standalone), chained: ofPod(pods.chained) },
      wire: sender(lab.wire, wire, node.name, ethernet(outsiderMac, macOf(node, "eth0"))),
      lan: sender(lab.wire, wire, `lan${index}`, ethernet(outsiderMac, macOf(node, "eth1"))),
    },
  };
}

function setControlPlane(lab: Lab, answers: boolean): void {
  lab.wire.script([`ip address ${answers ? "add" : "delete"} ${controlPlane}/24 dev br0`]);
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

/** Of the wire, as the test process reaches it. */
function netnsOf(wire: Namespaces): string {
  const pid = wire.enter[1] as string;
  readFileSync(`/proc/${pid}/comm`);
  return `/proc/${pid}/ns/net`;
}
