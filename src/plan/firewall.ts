// Our nftables tables. One counts, and in strict mode drops, every packet between
// pods of different nodes that travels outside the tunnel; in permissive mode it
// marks those that arrive so: a node that encrypts already would else drop, by
// strict reverse-path filtering, what a peer still sends in clear. It clamps TCP's
// segment size to what fits the tunnel, and keeps outside what cannot take it or is
// exempt. The other then marks ARP. Decides what the tables are; pure.
// Needs Linux 5.7: sets whose elements count. Route chains in a table of both
// families are older (5.2), so there is no kernel that lacks only them.
import type { NftChain, NftCounter, NftRule, NftStatement, NftTable } from "../net/nftables.ts";
import { outputChains } from "./firewall-output.ts";
import {
  addressSet,
  type Firewall,
  families,
  nodeSet,
  podSet,
  type RemotePods,
  setsOf,
} from "./firewall-sets.ts";

/** Ahead of connection tracking, and of whatever else may look at or change the mark. */
const rawPriority = -300;
/** Where segment sizes are clamped by custom. */
const manglePriority = -150;
/** The one that the arp family has a name for. */
const filterPriority = 0;
const clampChain = "clamp";

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
    sets: [addressSet(nodeSet(4), 4, nodes)],
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
    ...outputChains(firewall),
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

const accept: NftStatement = { kind: "verdict", verdict: "accept" };
const drop: NftStatement = { kind: "verdict", verdict: "drop" };
