// Our nftables tables. One counts, and in strict mode drops, every packet between
// pods of different nodes, and between a pod and another node, that travels outside
// the tunnel; it marks what arrives so (arrival.ts), keeps outside what the
// tunnel cannot take, and leads answers into it (output.ts). It refuses stray
// packets (received.ts), counts port checks (port-checks.ts), and clamps TCP's segment size to the tunnel. The other table
// marks ARP. Pure.
// Needs Linux 5.9: packets are rejected before they are routed. Sets whose elements
// count are older (5.7), and so are route chains in a table of both families (5.2).
import type { NftChain, NftCounter, NftRule, NftTable } from "../../net/nftables.ts";
import { arrivalChains } from "./arrival.ts";
import { leavingChains } from "./leaving.ts";
import { marksOf } from "./marks.ts";
import { outputChains } from "./output.ts";
import { checkChain, checkSets } from "./port-checks.ts";
import { refuseStray } from "./received.ts";
import {
  accept,
  byInterfaces,
  drop,
  goto,
  inSet,
  looksEncrypted,
  manglePriority,
  rawPriority,
  toDepartedPods,
} from "./rules.ts";
import {
  addressSet,
  clusterSet,
  type Firewall,
  families,
  hostSet,
  localSet,
  nodeSet,
  podSet,
  type Remote,
  setsOf,
  transitSetsOf,
  unknownSourceSet,
} from "./sets.ts";

/** The table that marks ARP packets. */
const filterPriority = 0;
const clampChain = "clamp";
const passingChain = "passing";
const forwardedChain = "forwarded";
const ledOnChain = "led_on";
const ledOnUnknownChain = "led_on_unknown";

/** Makes the tables that the node should have. */
export function firewallTables(firewall: Firewall): NftTable[] {
  return [firewallTable(firewall), ...(firewall.hostEncryption ? [neighbourTable(firewall)] : [])];
}

/** Makes the table that sees packets. */
export function firewallTable(firewall: Firewall): NftTable {
  const name = { family: "inet", name: firewall.table } as const;
  return {
    ...name,
    sets: [...setsOf(firewall), ...checkSets(firewall), ...transitSetsOf(firewall)],
    chains: chainsOf(firewall),
    foreign: [],
  };
}

/**
 * The kernel answers an ARP request of another node only if the reverse path to that node is right
 * (net/ipv4/arp.c). With host encryption the reverse path leads into the tunnel, so without this mark the
 * nodes would not find each other.
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
            { kind: "setMark", mark: marksOf(mark).arrived },
          ],
        ],
      },
    ],
  };
}

/** Sums the counts of the elements for each peer; elements that were not read count as 0. */
export function sumByPeer(
  remotes: readonly Remote[],
  counters: ReadonlyMap<string, NftCounter>,
): Map<string, NftCounter> {
  const sums = new Map<string, NftCounter>();
  for (const { element, peer } of remotes) {
    const sum = sums.get(peer) ?? { packets: 0, bytes: 0 };
    const counter = counters.get(element) ?? { packets: 0, bytes: 0 };
    sums.set(peer, { packets: sum.packets + counter.packets, bytes: sum.bytes + counter.bytes });
  }
  return sums;
}

function chainsOf(firewall: Firewall): NftChain[] {
  return [
    { name: clampChain, rules: [[{ kind: "tcpSyn" }, { kind: "clampMss" }]] },
    ...arrivalChains(firewall),
    ...forwardChains(firewall),
    postrouting(firewall),
    checkChain(firewall),
    ...leavingChains(firewall),
    ...outputChains(firewall),
  ];
}

/**
 * Makes the chains for forwarded packets. A packet to another node's own address takes the tunnel, or is
 * counted. Packets that our devices deliver go to pods of this node, or to the destination that this node
 * has translated them to: no option of the packet (source routes, segments) leads it elsewhere. A packet that
 * connection tracking does not know has not been translated: a peer can make such packets as it likes.
 * No packet to a pod that has ended leaves by an uplink; in strict mode this holds for packets of all senders.
 */
function forwardChains(firewall: Firewall): NftChain[] {
  const { connections, devices, strict } = firewall;
  const departed = toDepartedPods(firewall, { kind: "reject" });
  return [
    {
      name: passingChain,
      rules: [
        ...departed,
        [{ kind: "tcpSyn" }, { kind: "clampMss" }],
        ...families.map((family): NftRule => [inSet(family, "daddr", localSet(family)), accept]),
        ...(connections ? [[{ kind: "translated", of: "either" } as const, goto(forwardedChain)]] : []),
        refuseStray,
      ],
    },
    {
      name: forwardedChain,
      rules: [
        ...(strict ? departed : []),
        ...byInterfaces(devices, "oif", accept),
        ...families.map(
          (family): NftRule => [inSet(family, "daddr", hostSet(family, "out")), ...(strict ? [drop] : [])],
        ),
      ],
    },
    ...(strict ? ledOnChains(firewall) : []),
    {
      name: "forward",
      base: { type: "filter", hook: "forward", priority: manglePriority, policy: "accept" },
      rules: [
        ...byInterfaces(devices, "iif", goto(passingChain)),
        ...(strict ? fromOutside : []),
        [goto(forwardedChain)],
      ],
    },
  ];
}

const fromOutside: readonly NftRule[] = families.flatMap((family): NftRule[] => [
  [inSet(family, "saddr", nodeSet(family)), goto(ledOnChain)],
  [
    inSet(family, "saddr", clusterSet(family)),
    { kind: "inSet", family, field: "saddr", set: localSet(family), not: true },
    goto(ledOnUnknownChain),
  ],
]);

/**
 * Makes the chains for packets from outside the tunnel that are forwarded although they were for this node itself
 * when they came: a source route (IPv4) or segments (IPv6) lead them on, after rules have judged them by the
 * address of this node. Strict mode leads on only what a translated port leads. From cluster addresses that no node
 * has announced, only answers to this node's own connections have come so far, and these have the mark.
 */
function ledOnChains({ connections, mark }: Firewall): NftChain[] {
  const byPort: NftRule = [
    { kind: "direction", of: "original" },
    { kind: "translated", of: "destination" },
    goto(forwardedChain),
  ];
  return [
    {
      name: ledOnChain,
      rules: [
        ...(connections ? [byPort] : []),
        ...families.map((family): NftRule => [inSet(family, "saddr", hostSet(family, "in")), drop]),
      ],
    },
    {
      name: ledOnUnknownChain,
      rules: [
        [
          { kind: "hasMark", mark: marksOf(mark).arrived },
          { kind: "countInterface", set: unknownSourceSet },
          drop,
        ],
        [goto(forwardedChain)],
      ],
    },
  ];
}

function postrouting(firewall: Firewall): NftChain {
  const { devices, strict } = firewall;
  return {
    // Packets that leave by our devices are clamped here, not in forward and output: a
    // packet whose destination was translated in output has its route only now.
    name: "postrouting",
    base: { type: "filter", hook: "postrouting", priority: rawPriority, policy: "accept" },
    rules: [
      [{ kind: "loopback", direction: "oif" }, accept],
      ...byInterfaces(devices, "oif", goto(clampChain)),
      ...encrypted(firewall),
      ...toContested(firewall),
      ...(strict ? toDepartedPods(firewall, drop) : []),
      ...families.map(
        (family): NftRule => [inSet(family, "daddr", podSet(family, "out")), ...(strict ? [drop] : [])],
      ),
    ],
  };
}

/**
 * Accepts encrypted packets to a node whose address is in a network that nodes and pods share. No
 * encrypted packet goes to a pod: a packet to a pod that looks like one is counted, whatever mark it has.
 */
function encrypted(firewall: Firewall): NftRule[] {
  return looksEncrypted(firewall).flatMap((looks) =>
    families.map(
      (family): NftRule => [
        ...looks,
        inSet(family, "daddr", nodeSet(family)),
        { kind: "local", field: "saddr" },
        accept,
      ],
    ),
  );
}

/** Matches packets to a node whose handshake shows that it has an address that another node has claimed for pods. */
function toContested(firewall: Firewall): NftRule[] {
  return (firewall.contested ?? []).flatMap((ip) =>
    looksEncrypted(firewall).map(
      (looks): NftRule => [
        ...looks,
        { kind: "address", field: "daddr", ip },
        { kind: "local", field: "saddr" },
        accept,
      ],
    ),
  );
}
