// Our nftables table: it counts, and in strict mode drops, every packet between
// pods of different nodes that travels outside the tunnel; in permissive mode it
// marks those that arrive so: a node that encrypts already would else drop, by
// strict reverse-path filtering, what a peer still sends in clear. And it clamps
// TCP's segment size to what fits the tunnel. Decides what the table is; pure.
import { type Family, familyOf } from "../net/ip.ts";
import type { NftChain, NftCounter, NftRule, NftSet, NftStatement, NftTable } from "../net/nftables.ts";
import type { Mark } from "../net/objects.ts";

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
}

/** "in" arrived from another node in clear, "out" was about to leave to it. */
export type Direction = "in" | "out";

const families: readonly Family[] = [4, 6];
const directions: readonly Direction[] = ["in", "out"];
/** Ahead of connection tracking, and of whatever else may look at or change the mark. */
const rawPriority = -300;
/** Where segment sizes are clamped by custom. */
const manglePriority = -150;
const clampChain = "clamp";

/** Name of the set whose elements count the packets of one direction. */
export function podSet(family: Family, direction: Direction): string {
  return `pods${family}_${direction}`;
}

/** The sets that count, with their directions. */
export const podSets = directions.flatMap((direction) =>
  families.map((family) => ({ direction, name: podSet(family, direction) })),
);

/** The table that the node is to have. */
export function firewallTable(firewall: Firewall): NftTable {
  return { name: firewall.table, sets: setsOf(firewall), chains: chainsOf(firewall), foreign: [] };
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

function setsOf({ pods, nodes }: Firewall): NftSet[] {
  const sets: NftSet[] = [];
  for (const family of families) {
    const prefixes = new Set<string>();
    for (const { prefix } of pods) if (familyOf(prefix) === family) prefixes.add(prefix);
    for (const direction of directions)
      sets.push({
        ...{ name: podSet(family, direction), family, interval: true, counter: true, elements: prefixes },
      });
    const addresses = new Set(nodes.filter((node) => familyOf(node) === family));
    sets.push({ name: nodeSet(family), family, interval: false, counter: false, elements: addresses });
  }
  return sets;
}

function chainsOf(firewall: Firewall): NftChain[] {
  const { devices } = firewall;
  const toClamp: NftStatement = { kind: "goto", chain: clampChain };
  return [
    { name: clampChain, rules: [[{ kind: "tcpSyn" }, { kind: "clampMss" }]] },
    {
      name: "prerouting",
      base: { hook: "prerouting", priority: rawPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "iif" }, accept],
        ...devices.map((name): NftRule => [{ kind: "interface", direction: "iif", name }, accept]),
        ...arrivals(firewall),
      ],
    },
    {
      name: "forward",
      base: { hook: "forward", priority: manglePriority, policy: "accept" },
      rules: devices.map((name): NftRule => [{ kind: "interface", direction: "iif", name }, toClamp]),
    },
    {
      // What leaves by our devices is clamped here, not in forward and output: a
      // packet whose destination was translated in output has its route only now.
      name: "postrouting",
      base: { hook: "postrouting", priority: rawPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "oif" }, accept],
        ...devices.map((name): NftRule => [{ kind: "interface", direction: "oif", name }, toClamp]),
        [{ kind: "hasMark", mark: firewall.mark }, accept],
        ...families.map(
          (family): NftRule => [
            { kind: "inSet", family, field: "daddr", set: podSet(family, "out") },
            ...(firewall.strict ? [drop] : []),
          ],
        ),
      ],
    },
  ];
}

/** What did not come from our devices: each rule counts, by the element that it finds. */
function arrivals({ strict, mark }: Firewall): NftRule[] {
  const setMark: NftStatement = { kind: "setMark", mark };
  const fromPods = families.map(
    (family): NftRule => [
      { kind: "inSet", family, field: "saddr", set: podSet(family, "in") },
      strict ? drop : setMark,
    ],
  );
  if (strict) return fromPods;
  // Nodes' packets to this node itself need no help: hosts talk outside the tunnel.
  const fromNodes = families.map(
    (family): NftRule => [
      { kind: "inSet", family, field: "saddr", set: nodeSet(family) },
      { kind: "notLocal" },
      setMark,
    ],
  );
  return [...fromPods, ...fromNodes];
}

function nodeSet(family: Family): string {
  return `nodes${family}`;
}

const accept: NftStatement = { kind: "verdict", verdict: "accept" };
const drop: NftStatement = { kind: "verdict", verdict: "drop" };
