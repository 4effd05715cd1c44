// The chains for packets that arrive. The first one sees them as they come, the
// second one after everybody else: behind connection tracking and the translation
// of destinations. Between the two a packet to a port of this node may have become
// one to a pod or to another node. Pure.
//
//             raw -300                        mangle, dstnat ...     1000
//   packet ──► prerouting: counts, drops,  ──► others' chains ──► arrivals: decides again
//              marks what came in plaintext                       which way its route goes,
//              (sources.ts)                                       and what is another node's
//
// A mark is needed for strict reverse-path filtering: the filter searches the route back to
// the sender, which our tables have behind the tunnel.
import type { NftChain, NftRule, NftStatement } from "../../net/nftables.ts";
import { connectionMarkOf, marksOf } from "./marks.ts";
import { receivedChain, receivedChains } from "./received.ts";
import { accept, byInterfaces, drop, goto, inSet, rawPriority } from "./rules.ts";
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
    ...receivedChains(),
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
        // Nobody but the chain below sets this one: another product's would mislead the reverse path.
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
 * What our devices have delivered marks its connection: answers of this node's own
 * processes then go where the connection came from, into the tunnel (output.ts).
 */
function deliveredChains({ connections, mark }: Firewall): NftChain[] {
  if (!connections) return [];
  const setMark: NftStatement = { kind: "setConnectionMark", mark: connectionMarkOf(mark) };
  return [{ name: deliveredChain, rules: [[setMark]] }];
}

/**
 * An address of the cluster's pods that none of them has, as far as is known: a node that
 * does not encrypt has it, or an attacker makes it up. A pod of this node that the peers have
 * not heard of yet comes by no uplink, and none leads to it.
 */
function unknownSourceChains({ uplinks, connections }: Firewall): NftChain[] {
  // Cluster CIDRs do not bind what this node itself asks for.
  const answer: NftRule = [
    { kind: "local", field: "daddr" },
    { kind: "direction", of: "reply" },
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
 * Another node sends outside the tunnel to a pod of this one, by the pod's own address: not
 * by a port of this node that is translated, which is between hosts. It is counted, and
 * dropped in strict mode; so is then what this node would forward elsewhere. What connection
 * tracking does not know has not been translated.
 */
function fromPeers(firewall: Firewall): NftChain[] {
  const { strict, connections, mark } = firewall;
  const byPort: NftRule = [{ kind: "direction", of: "original" }, { kind: "translated" }, goto(rerouteChain)];
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
 * What came in plaintext and is forwarded goes on into the tunnel if its destination is
 * there, and only its reverse path skips our tables; else both skip them. What our tables
 * refuse in strict mode is left to them.
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
