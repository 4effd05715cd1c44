// Our nftables tables. One counts, and in strict mode drops, every packet between
// pods of different nodes that travels outside the tunnel; in permissive mode it
// marks those that arrive so: a node that encrypts already would else drop, by
// strict reverse-path filtering, what a peer still sends in clear. It clamps TCP's
// segment size to what fits the tunnel, and with host encryption it keeps the
// exempt outside. The other then marks ARP. Decides what the tables are; pure.
import type { Exemption, TransportProtocol } from "../net/exemption.ts";
import { type Family, familyOf } from "../net/ip.ts";
import type { NftChain, NftCounter, NftRule, NftSet, NftStatement, NftTable } from "../net/nftables.ts";
import type { Mark } from "../net/objects.ts";
import { comparePrefixes, prefixContains } from "../net/prefix.ts";

export interface RemotePods {
  /** Canonical prefix of pods of another node; none overlaps another. */
  readonly prefix: string;
  /** Name of that node. */
  readonly peer: string;
}

export interface Firewall {
  readonly table: string;
  /** Our WireGuard devices, whether they exist yet or not. */
  readonly devices: readonly string[];
  /** What encrypted packets carry. */
  readonly mark: Mark;
  /** Drops in place of only counting. */
  readonly strict: boolean;
  readonly pods: readonly RemotePods[];
  /** Addresses of the other nodes. */
  readonly nodes: readonly string[];
  /** True where what this node sends to other nodes takes the tunnel too. */
  readonly hostEncryption: boolean;
  /** What then stays outside of it, in both directions. */
  readonly exempt: readonly Exemption[];
  /** Canonical prefixes of this node's own pods: nothing of theirs is exempt. */
  readonly localPods: readonly string[];
}

/** "in" arrived from another node in clear, "out" was about to leave to it. */
export type Direction = "in" | "out";

const families: readonly Family[] = [4, 6];
const directions: readonly Direction[] = ["in", "out"];
/** Ahead of connection tracking, and of whatever else may look at or change the mark. */
const rawPriority = -300;
/** Where segment sizes are clamped by custom. */
const manglePriority = -150;
/** The one that the arp family has a name for. */
const filterPriority = 0;
/**
 * Behind what translates destinations (-100): a packet to a service's address is
 * known by the address it really goes to, and what goes to a pod after all is not exempt.
 */
const exemptPriority = -50;
const clampChain = "clamp";
const exemptChain = "exempt";

/** Name of the set whose elements count the packets of one direction. */
export function podSet(family: Family, direction: Direction): string {
  return `pods${family}_${direction}`;
}

/** The sets that count, with their directions. */
export const podSets = directions.flatMap((direction) =>
  families.map((family) => ({ direction, name: podSet(family, direction) })),
);

/** The tables that the node is to have. */
export function firewallTables(firewall: Firewall): NftTable[] {
  return [firewallTable(firewall), ...(firewall.hostEncryption ? [neighbourTable(firewall)] : [])];
}

/** What sees packets. */
export function firewallTable(firewall: Firewall): NftTable {
  const name = { family: "inet", name: firewall.table } as const;
  return { ...name, sets: setsOf(firewall), chains: chainsOf(firewall), foreign: [] };
}

/**
 * The kernel answers another node's question after our link-layer address only
 * where the reverse path to the asker is right (net/ipv4/arp.c), and with host
 * encryption that is behind the tunnel: unmarked, none would find the other.
 */
function neighbourTable({ table, mark, nodes }: Firewall): NftTable {
  return {
    ...{ family: "arp", name: table, foreign: [] },
    sets: [nodeAddressSet(4, nodes)],
    chains: [
      {
        name: "input",
        base: { type: "filter", hook: "input", priority: filterPriority, policy: "accept" },
        rules: [
          [
            { kind: "senderInSet", set: nodeSet(4) },
            { kind: "setMark", mark },
          ],
        ],
      },
    ],
  };
}

/** The sums of each peer, from what the elements have counted; prefixes that were not read count as 0. */
export function sumByPeer(
  pods: readonly RemotePods[],
  counters: ReadonlyMap<string, NftCounter>,
): Map<string, NftCounter> {
  const sums = new Map<string, NftCounter>();
  for (const { prefix, peer } of pods) {
    const sum = sums.get(peer) ?? { packets: 0, bytes: 0 };
    const counter = counters.get(prefix) ?? { packets: 0, bytes: 0 };
    sums.set(peer, { packets: sum.packets + counter.packets, bytes: sum.bytes + counter.bytes });
  }
  return sums;
}

function setsOf(firewall: Firewall): NftSet[] {
  const { pods, nodes } = firewall;
  const sets: NftSet[] = [];
  for (const family of families) {
    const prefixes = new Set<string>();
    for (const { prefix } of pods) if (familyOf(prefix) === family) prefixes.add(prefix);
    for (const direction of directions)
      sets.push({
        ...{ name: podSet(family, direction), family, interval: true, counter: true, elements: prefixes },
      });
    sets.push(nodeAddressSet(family, nodes));
  }
  return hasExempt(firewall) ? [...sets, ...families.map((family) => localPodSet(family, firewall))] : sets;
}

function nodeAddressSet(family: Family, nodes: readonly string[]): NftSet {
  const elements = new Set(nodes.filter((node) => familyOf(node) === family));
  return { name: nodeSet(family), family, interval: false, counter: false, elements };
}

function localPodSet(family: Family, { localPods }: Firewall): NftSet {
  const elements = new Set<string>();
  let last: string | undefined;
  // Intervals must not overlap; a prefix stands before those that it contains.
  for (const prefix of [...localPods].sort(comparePrefixes)) {
    if (familyOf(prefix) !== family || (last !== undefined && prefixContains(last, prefix))) continue;
    elements.add(prefix);
    last = prefix;
  }
  return { name: localSet(family), family, interval: true, counter: false, elements };
}

function hasExempt({ hostEncryption, exempt }: Firewall): boolean {
  return hostEncryption && exempt.length > 0;
}

function chainsOf(firewall: Firewall): NftChain[] {
  const { devices } = firewall;
  const toClamp: NftStatement = { kind: "goto", chain: clampChain };
  const isMarked: NftStatement = { kind: "hasMark", mark: firewall.mark };
  return [
    { name: clampChain, rules: [[{ kind: "tcpSyn" }, { kind: "clampMss" }]] },
    {
      name: "prerouting",
      base: { type: "filter", hook: "prerouting", priority: rawPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "iif" }, accept],
        ...devices.map((name): NftRule => [{ kind: "interface", direction: "iif", name }, accept]),
        ...arrivals(firewall),
      ],
    },
    {
      // A node's packet to a port of ours may go on to a remote pod. Where it came
      // marked it would leave in clear, and by its mark look encrypted in postrouting.
      name: "forward",
      base: { type: "filter", hook: "forward", priority: manglePriority, policy: "accept" },
      rules: [
        ...devices.map((name): NftRule => [{ kind: "interface", direction: "iif", name }, toClamp]),
        ...(firewall.hostEncryption ? toPods(firewall, isMarked) : []),
      ],
    },
    {
      // What leaves by our devices is clamped here, not in forward and output: a
      // packet whose destination was translated in output has its route only now.
      name: "postrouting",
      base: { type: "filter", hook: "postrouting", priority: rawPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "oif" }, accept],
        ...devices.map((name): NftRule => [{ kind: "interface", direction: "oif", name }, toClamp]),
        [isMarked, accept],
        ...toPods(firewall),
      ],
    },
    ...exemptChains(firewall),
  ];
}

/** Each rule counts what is sent to remote pods, by the element that it finds. */
function toPods({ strict }: Firewall, ...conditions: readonly NftStatement[]): NftRule[] {
  return families.map(
    (family): NftRule => [
      ...conditions,
      { kind: "inSet", family, field: "daddr", set: podSet(family, "out") },
      ...(strict ? [drop] : []),
    ],
  );
}

/**
 * What carries our mark is routed again, outside the tunnel. Exempt is what goes
 * to an exempt address or port and what comes from there, so that a connection
 * has both directions outside; and only between nodes: what a proxy on this node
 * sends by the address of a pod is the pod's.
 */
function exemptChains(firewall: Firewall): NftChain[] {
  if (!hasExempt(firewall)) return [];
  const { exempt, mark } = firewall;
  const setMark: NftStatement = { kind: "setMark", mark };
  return [
    { name: exemptChain, rules: exempt.flatMap(endsOf).map((end): NftRule => [...end, setMark]) },
    {
      name: "output",
      base: { type: "route", hook: "output", priority: exemptPriority, policy: "accept" },
      rules: families.flatMap((family): NftRule[] => [
        [{ kind: "inSet", family, field: "saddr", set: localSet(family) }, accept],
        [
          { kind: "inSet", family, field: "daddr", set: nodeSet(family) },
          { kind: "goto", chain: exemptChain },
        ],
      ]),
    },
  ];
}

/** What packets to the exempt end of a conversation have, and packets from there. */
function endsOf(exemption: Exemption): NftRule[] {
  return [end(exemption, "daddr", "dport"), end(exemption, "saddr", "sport")];
}

function end(exemption: Exemption, addressField: "daddr" | "saddr", portField: "dport" | "sport"): NftRule {
  const address = (ip: string): NftStatement => ({ kind: "address", field: addressField, ip });
  const port = (protocol: TransportProtocol, number: number): NftStatement => ({
    ...{ kind: "port", protocol, field: portField, port: number },
  });
  switch (exemption.kind) {
    case "address":
      return [address(exemption.ip)];
    case "service":
      return [address(exemption.ip), port("tcp", exemption.port)];
    case "port":
      return [port(exemption.protocol, exemption.port)];
  }
}

/** What did not come from our devices: each rule of pods counts, by the element that it finds. */
function arrivals({ strict, mark, hostEncryption }: Firewall): NftRule[] {
  const setMark: NftStatement = { kind: "setMark", mark };
  const fromPods = families.map(
    (family): NftRule => [
      { kind: "inSet", family, field: "saddr", set: podSet(family, "in") },
      strict ? drop : setMark,
    ],
  );
  if (strict && !hostEncryption) return fromPods;
  const fromNodes = families.map(
    (family): NftRule => [
      { kind: "inSet", family, field: "saddr", set: nodeSet(family) },
      ...helped(strict, hostEncryption),
      setMark,
    ],
  );
  return [...fromPods, ...fromNodes];
}

/**
 * Which packets of other nodes strict reverse-path filtering would drop: our
 * tables have their senders behind the tunnel. With host encryption all of them,
 * those of the tunnel itself and the exempt included; without it only those that
 * are forwarded. Strict mode leaves these to be dropped: they are for pods.
 */
function helped(strict: boolean, hostEncryption: boolean): NftStatement[] {
  if (!hostEncryption) return [{ kind: "notLocal" }];
  return strict ? [{ kind: "notUnicast" }] : [];
}

function nodeSet(family: Family): string {
  return `nodes${family}`;
}

function localSet(family: Family): string {
  return `local${family}`;
}

const accept: NftStatement = { kind: "verdict", verdict: "accept" };
const drop: NftStatement = { kind: "verdict", verdict: "drop" };
