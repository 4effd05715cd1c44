// Our nftables tables. One counts, and in strict mode drops, every packet between
// pods of different nodes, and between a pod and another node, that travels outside
// the tunnel; it marks what arrives so (arrival.ts), keeps outside what the
// tunnel cannot take, and leads answers into it (output.ts). It refuses what
// peers send to others than this node and its pods (received.ts), and clamps
// TCP's segment size to what fits the tunnel. The other marks ARP. Decides what the
// tables are; pure.
// Needs Linux 5.9: packets are rejected before they are routed. Sets whose elements
// count are older (5.7), and so are route chains in a table of both families (5.2).
import type { NftChain, NftCounter, NftRule, NftStatement, NftTable } from "../../net/nftables.ts";
import { arrivalChains } from "./arrival.ts";
import { marksOf } from "./marks.ts";
import { outputChains } from "./output.ts";
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
  type Firewall,
  families,
  hostSet,
  localSet,
  nodeSet,
  podSet,
  type Remote,
  setsOf,
} from "./sets.ts";

/** The one that the arp family has a name for. */
const filterPriority = 0;
const clampChain = "clamp";
const passingChain = "passing";

/** The tables that the node is to have. */
export function firewallTables(firewall: Firewall): NftTable[] {
  return [firewallTable(firewall), ...(firewall.hostEncryption ? [neighbourTable(firewall)] : [])];
}

/** Makes the table that sees packets. */
export function firewallTable(firewall: Firewall): NftTable {
  const name = { family: "inet", name: firewall.table } as const;
  return { ...name, sets: setsOf(firewall), chains: chainsOf(firewall), foreign: [] };
}

/**
 * The kernel answers another node's question after our link-layer address only
 * if the reverse path to the asker is right (net/ipv4/arp.c), and with host
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
            { kind: "setMark", mark: marksOf(mark).arrived },
          ],
        ],
      },
    ],
  };
}

/** The sums of each peer, from what the elements have counted; those that were not read count as 0. */
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
    ...outputChains(firewall),
  ];
}

/**
 * What is forwarded to another node's own addresses takes the tunnel, or is counted.
 * Packets that our devices deliver go to pods of this node, or where this node has translated them
 * to: no option of the packet (source routing) leads it elsewhere. To a pod that has gone
 * nothing leaves by an uplink, and in strict mode neither does what others send to it.
 */
function forwardChains(firewall: Firewall): NftChain[] {
  const { connections, devices, strict } = firewall;
  const toHosts = [
    ...byInterfaces(devices, "oif", accept),
    ...families.map(
      (family): NftRule => [inSet(family, "daddr", hostSet(family, "out")), ...(strict ? [drop] : [])],
    ),
  ];
  const departed = toDepartedPods(firewall, { kind: "reject" });
  const untranslated: NftStatement[] = connections ? [{ kind: "notTranslated", of: "both" }] : [];
  return [
    {
      name: passingChain,
      rules: [
        ...departed,
        [{ kind: "tcpSyn" }, { kind: "clampMss" }],
        ...families.map((family): NftRule => [inSet(family, "daddr", localSet(family)), accept]),
        [...untranslated, ...refuseStray],
        ...toHosts,
      ],
    },
    {
      name: "forward",
      base: { type: "filter", hook: "forward", priority: manglePriority, policy: "accept" },
      rules: [...byInterfaces(devices, "iif", goto(passingChain)), ...(strict ? departed : []), ...toHosts],
    },
  ];
}

function postrouting(firewall: Firewall): NftChain {
  const { devices, strict } = firewall;
  return {
    // What leaves by our devices is clamped here, not in forward and output: a
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
 * Encrypted packets to a node whose address lies among the pods', as in a network that both share.
 * No encrypted packet goes to a pod: what looks like one is counted, whatever mark it has.
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
