// The chains for packets that arrive. The first one sees packets as they come. The second one sees
// them after all foreign chains: after connection tracking and the translation of destinations. In
// between, a packet to a port of this node may have become one to a pod or to another node. Pure.
//
//             raw -300                        mangle, dstnat ...     1000
//   packet ──► prerouting: counts, drops,  ──► foreign chains ──► arrivals: decides again
//              marks plaintext                                    which route it takes, and
//              (sources.ts)                                       if it is for another node
//
// A mark is needed for strict reverse-path filtering: the filter searches the route back to
// the sender, which our tables have behind the tunnel.
import type { NftChain, NftRule, NftStatement } from "../../net/nftables.ts";
import { connectionMarkOf, marksOf } from "./marks.ts";
import { receivedChain, receivedChains } from "./received.ts";
import { accept, byInterfaces, drop, goto, icmpErrors, inSet, rawPriority } from "./rules.ts";
import { clusterSet, type Firewall, families, hostSet, localSet, nodeSet, unknownSourceSet } from "./sets.ts";
import { countArrived, fromPeersPods, ifSpoofed, sourceChains } from "./sources.ts";
import { unannouncedChain, unannouncedChains } from "./unannounced.ts";

/** This priority comes after all foreign chains that may change a packet's mark or destination. */
const lastPriority = 1000;
const deliveredChain = "delivered";
const rerouteChain = "reroute";
const judgedChain = "judged";
const peersChain = "peers";
const untunneledChain = "untunneled";
const unknownSourcesChain = "unknown_sources";
const refusedChain = "refused";

export function arrivalChains(firewall: Firewall): NftChain[] {
  const { devices, podsAreAnnounced, strict } = firewall;
  const { inside, arrived, none } = marksOf(firewall.mark);
  const judgesUnannounced = podsAreAnnounced || strict;
  return [
    ...receivedChains(firewall),
    ...sourceChains(firewall),
    {
      name: "prerouting",
      base: { type: "filter", hook: "prerouting", priority: rawPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "iif" }, accept],
        ...byInterfaces(devices, "iif", goto(receivedChain)),
        ...fromPeersPods(firewall),
      ],
    },
    ...deliveredChains(firewall),
    rerouteTo(firewall),
    ...fromPeers(firewall),
    ...(judgesUnannounced ? unannouncedChains(firewall) : []),
    {
      name: judgedChain,
      rules: [
        // Only the chain below sets this mark: a mark of another product would mislead the reverse path.
        [
          { kind: "hasMark", mark: inside },
          { kind: "local", field: "daddr" },
          { kind: "setMark", mark: none },
        ],
        ...families.map((family): NftRule => [inSet(family, "saddr", nodeSet(family)), goto(peersChain)]),
        [{ kind: "hasMark", mark: arrived }, goto(rerouteChain)],
        ...(judgesUnannounced ? [[goto(unannouncedChain)]] : []),
      ],
    },
    ...(strict ? unknownSourceChains(firewall) : []),
    {
      name: "arrivals",
      base: { type: "filter", hook: "prerouting", priority: lastPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "iif" }, accept],
        ...byInterfaces(devices, "iif", firewall.connections ? goto(deliveredChain) : accept),
        ...(strict ? fromUnknownSources : []),
        [goto(judgedChain)],
      ],
    },
  ];
}

const fromUnknownSources: readonly NftRule[] = families.map((family) => [
  inSet(family, "saddr", clusterSet(family)),
  { kind: "inSet", family, field: "saddr", set: localSet(family), not: true },
  goto(unknownSourcesChain),
]);

/**
 * Packets that our devices deliver mark their connections: answers of this node's own processes then
 * go back into the tunnel (output.ts). ICMP errors do not: conntrack gives them the connection of the packet
 * that they quote, which may be one outside the tunnel, that of the encrypted packets themselves among others.
 */
function deliveredChains({ connections, mark }: Firewall): NftChain[] {
  if (!connections) return [];
  const setMark: NftStatement = { kind: "setConnectionMark", mark: connectionMarkOf(mark) };
  const isError = families.flatMap((family) =>
    icmpErrors[family].map((type): NftRule => [{ kind: "icmp", family, type }, accept]),
  );
  return [{ name: deliveredChain, rules: [...isError, [setMark]] }];
}

/**
 * Makes the chains for sources in cluster CIDRs that no known pod has: either a node that does not
 * encrypt has the pod, or an attacker made the address up. A pod of this node that the peers do not know
 * yet is neither of the two: its packets come by no uplink, and no uplink leads to it.
 */
function unknownSourceChains({ uplinks, connections, mark }: Firewall): NftChain[] {
  // Answers to this node's own connections are accepted in spite of the cluster CIDRs, but not led on (table.ts).
  const answer: NftRule = [
    { kind: "local", field: "daddr" },
    { kind: "direction", of: "reply" },
    { kind: "setMark", mark: marksOf(mark).arrived },
    goto(judgedChain),
  ];
  return [
    {
      name: refusedChain,
      rules: [...(connections ? [answer] : []), [{ kind: "countInterface", set: unknownSourceSet }], [drop]],
    },
    {
      name: unknownSourcesChain,
      rules: [
        ...byInterfaces(uplinks, "iif", goto(refusedChain)),
        ...uplinks.map((device): NftRule => [{ kind: "routedBackBy", device }, goto(refusedChain)]),
        [goto(judgedChain)],
      ],
    },
  ];
}

/**
 * Makes the chains for packets that another node sends outside the tunnel. A packet to the address of a
 * pod of this node is counted, and dropped in strict mode, as is a packet that this node would forward
 * elsewhere. A packet to a translated port of this node is traffic between hosts. A packet that
 * connection tracking does not know has not been translated.
 */
function fromPeers(firewall: Firewall): NftChain[] {
  const { strict, connections, mark } = firewall;
  const byPort: NftRule = [
    { kind: "direction", of: "original" },
    { kind: "translated", of: "destination" },
    goto(rerouteChain),
  ];
  return [
    {
      name: untunneledChain,
      rules: [
        [{ kind: "setMark", mark: marksOf(mark).arrived }],
        ifSpoofed(),
        ...countArrived(firewall, hostSet),
        ...(strict ? [] : [[goto(rerouteChain)]]),
      ],
    },
    {
      name: peersChain,
      rules: [
        ...(connections ? [byPort] : []),
        ...families.map(
          (family): NftRule => [inSet(family, "daddr", localSet(family)), goto(untunneledChain)],
        ),
        ...(strict ? [[{ kind: "routeType", type: "unicast" } as const, goto(untunneledChain)]] : []),
        [goto(rerouteChain)],
      ],
    },
  ];
}

/**
 * Routes a forwarded packet that came in plaintext: it goes into the tunnel if its destination is behind
 * the tunnel, and only its reverse path skips our tables; else both skip them. In strict mode our tables
 * refuse what they refuse of other packets.
 */
function rerouteTo({ devices, mark }: Firewall): NftChain {
  const { inside, arrived } = marksOf(mark);
  return {
    name: rerouteChain,
    rules: [
      [{ kind: "local", field: "daddr" }, accept],
      [{ kind: "setMark", mark: inside }],
      ...devices.map((device): NftRule => [{ kind: "routedBy", device }, accept]),
      [{ kind: "routed" }, { kind: "setMark", mark: arrived }],
    ],
  };
}
