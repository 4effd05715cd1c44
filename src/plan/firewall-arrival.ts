// The chains for packets that arrive. The first one sees them as they come, the
// second one after everybody else: behind connection tracking and the translation
// of destinations. Between the two a packet to a port of this node may have become
// one to a pod or to another node. Pure.
//
//             raw -300                        mangle, dstnat ...     1000
//   packet ──► prerouting: counts, drops,  ──► others' chains ──► arrivals: decides again
//              marks what came in plaintext                       which way its route goes
//
// A mark is needed for strict reverse-path filtering: it looks for the route back to
// the sender, which our tables have behind the tunnel.
import type { NftChain, NftRule, NftStatement } from "../net/nftables.ts";
import { receivedChain, receivedChains } from "./firewall-received.ts";
import { accept, byInterfaces, drop, goto, inSet, rawPriority } from "./firewall-rules.ts";
import { type Firewall, families, hostSet, localSet, nodeSet, podSet } from "./firewall-sets.ts";
import { connectionMarkOf, marksOf } from "./marks.ts";

/** Behind all chains of others that may change a packet's mark or destination. */
const lastPriority = 1000;
const deliveredChain = "delivered";
const rerouteChain = "reroute";
const unannouncedChain = "unannounced";
const outsideChain = "outside";

export function arrivalChains(firewall: Firewall): NftChain[] {
  const { devices, podsAreAnnounced, strict } = firewall;
  const { inside, arrived, none } = marksOf(firewall.mark);
  const chains: NftChain[] = [
    ...receivedChains(),
    {
      name: "prerouting",
      base: { type: "filter", hook: "prerouting", priority: rawPriority, policy: "accept" },
      rules: [
        [{ kind: "loopback", direction: "iif" }, accept],
        ...byInterfaces(devices, "iif", goto(receivedChain)),
        ...inPlaintext(firewall),
      ],
    },
    ...deliveredChains(firewall),
    rerouteTo(firewall),
  ];
  // Strict mode drops what such a pod sends to the mesh, in postrouting.
  const divertsUnannounced = podsAreAnnounced && !strict;
  if (divertsUnannounced) chains.push(...unannouncedChains(firewall));
  chains.push({
    name: "arrivals",
    base: { type: "filter", hook: "prerouting", priority: lastPriority, policy: "accept" },
    rules: [
      [{ kind: "loopback", direction: "iif" }, accept],
      ...byInterfaces(devices, "iif", firewall.connections ? goto(deliveredChain) : accept),
      ...fromHostsToPods(firewall),
      // Nobody but the chain below sets this one: another product's would mislead the reverse path.
      [
        { kind: "hasMark", mark: inside },
        { kind: "local", field: "daddr" },
        { kind: "setMark", mark: none },
      ],
      [{ kind: "hasMark", mark: arrived }, goto(rerouteChain)],
      ...families.map((family): NftRule => [inSet(family, "saddr", nodeSet(family)), goto(rerouteChain)]),
      ...(divertsUnannounced ? [[goto(unannouncedChain)]] : []),
    ],
  });
  return chains;
}

/** Each rule of pods counts, by the element that it finds. */
function inPlaintext({ strict, mark, hostEncryption }: Firewall): NftRule[] {
  const setArrived: NftStatement = { kind: "setMark", mark: marksOf(mark).arrived };
  // With host encryption our tables have the nodes themselves behind the tunnel, for every
  // packet: those of the tunnel and the exempt included. Without it only for what is forwarded.
  const isForwarded: NftStatement[] = hostEncryption ? [] : [{ kind: "local", field: "daddr", not: true }];
  return [
    ...families.map(
      (family): NftRule => [inSet(family, "saddr", podSet(family, "in")), strict ? drop : setArrived],
    ),
    ...families.map(
      (family): NftRule => [inSet(family, "saddr", nodeSet(family)), ...isForwarded, setArrived],
    ),
  ];
}

/**
 * What our devices have delivered marks its connection: answers of this node's own
 * processes then go where the connection came from, into the tunnel (firewall-output.ts).
 */
function deliveredChains({ connections, mark }: Firewall): NftChain[] {
  if (!connections) return [];
  const setMark: NftStatement = { kind: "setConnectionMark", mark: connectionMarkOf(mark) };
  return [{ name: deliveredChain, rules: [[setMark]] }];
}

/**
 * Another node sends to a pod of this one outside the tunnel, by the pod's own address: not
 * by a port of this node, which is between hosts. It is counted, and dropped in strict mode.
 */
function fromHostsToPods({ strict, connections }: Firewall): NftRule[] {
  const toPods: NftStatement[][] = connections
    ? [
        [{ kind: "direction", of: "reply" }],
        [
          { kind: "direction", of: "original" },
          { kind: "notTranslated", of: "destination" },
        ],
      ]
    : [[]];
  return families.flatMap((family) =>
    toPods.map((conditions) => [
      inSet(family, "daddr", localSet(family)),
      ...conditions,
      inSet(family, "saddr", hostSet(family, "in")),
      ...(strict ? [drop] : []),
    ]),
  );
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

/**
 * A pod that the others have not heard of yet: they would drop what comes from it by the
 * tunnel, so it stays outside until they have, as without us, and is counted.
 */
function unannouncedChains({ devices, uplinks, mark }: Firewall): NftChain[] {
  const { inside, arrived, none } = marksOf(mark);
  return [
    { name: outsideChain, rules: [[{ kind: "setMark", mark: arrived }]] },
    {
      name: unannouncedChain,
      rules: [
        ...byInterfaces(uplinks, "iif", accept),
        ...families.map((family): NftRule => [inSet(family, "saddr", localSet(family)), accept]),
        [{ kind: "local", field: "daddr" }, accept],
        [{ kind: "setMark", mark: inside }],
        ...devices.map((device): NftRule => [{ kind: "routedBy", device }, goto(outsideChain)]),
        [{ kind: "setMark", mark: none }],
      ],
    },
  ];
}
