// The chains for what this node itself sends: answers that belong into the tunnel,
// and what the tunnel cannot take, or is not to: what comes from an address that the
// others do not know as this node's, and with host encryption what is exempt. Pods'
// packets pass through none that marks. Pure.
import type { Exemption, TransportProtocol } from "../../net/exemption.ts";
import type { Family } from "../../net/ip.ts";
import type { IcmpType, NftChain, NftRule, NftStatement } from "../../net/nftables.ts";
import { connectionMarkOf, marksOf } from "./marks.ts";
import { accept, byInterfaces, drop, goto, inSet, looksEncrypted, rawPriority } from "./rules.ts";
import {
  type Firewall,
  families,
  hostSet,
  localSet,
  nodeSet,
  ownSet,
  podSet,
  unknownSourceSet,
} from "./sets.ts";

/** This priority comes before destinations are translated (-100), where iptables has a packet routed again too. */
const beforeNatPriority = -150;
/**
 * Behind what translates destinations (-100): a packet to a service's address is
 * known by the address it really goes to, and what goes to a pod after all is not exempt.
 */
const exemptPriority = -50;
/** Between the two: a mark that a packet still has here is not the exempt's. */
const translatedPriority = -60;
/** Behind what translates sources (100), so that they are what the other node would see. */
const tunneledPriority = 200;

const exemptChain = "exempt";
const knownChain = "known";
const routedChain = "routed";
/** Errors about what was forwarded have the packet in them that they are about. */
const errors: Readonly<Record<Family, readonly IcmpType[]>> = {
  4: ["destination-unreachable", "time-exceeded"],
  6: ["destination-unreachable", "time-exceeded", "packet-too-big"],
};

export function outputChains(firewall: Firewall): NftChain[] {
  return [
    answers(firewall),
    ...foreignChains(firewall),
    ...exemptChains(firewall),
    ...markedChains(firewall),
  ];
}

/**
 * With host encryption our marks lead to other nodes in plaintext, and who may open raw sockets can
 * set them. So a packet to a node loses the mark that it comes with: the other chains decide. One to
 * a service's address loses it once it is translated to a node's. By then a chain of ours may have
 * marked it, but only for a source that is not this node's own.
 */
function markedChains(firewall: Firewall): NftChain[] {
  const { connections, hostEncryption } = firewall;
  if (!hostEncryption) return [];
  const translated = families.map((family): NftStatement[] => [
    { kind: "translated" },
    inSet(family, "saddr", ownSet(family)),
    inSet(family, "daddr", nodeSet(family)),
  ]);
  return [
    {
      name: "marked",
      base: { type: "route", hook: "output", priority: rawPriority, policy: "accept" },
      rules: unmark(
        firewall,
        families.map((family) => [inSet(family, "daddr", nodeSet(family))]),
      ),
    },
    ...(connections
      ? [
          {
            name: "translated",
            base: { type: "route", hook: "output", priority: translatedPriority, policy: "accept" },
            rules: unmark(firewall, translated),
          } as const,
        ]
      : []),
  ];
}

/** Removes the marks that lead past the tunnel from packets that meet one of the lists of conditions and do not look encrypted. */
function unmark(firewall: Firewall, packets: readonly NftStatement[][]): NftRule[] {
  const { outside, arrived, none } = marksOf(firewall.mark);
  return [
    [{ kind: "hasMark", mark: none }, accept],
    ...looksEncrypted(firewall).map((looks): NftRule => [...looks, accept]),
    ...packets.flatMap((conditions) =>
      [outside, arrived].map(
        (mark): NftRule => [{ kind: "hasMark", mark }, ...conditions, { kind: "setMark", mark: none }],
      ),
    ),
  ];
}

/**
 * Host to host stays outside, but for what belongs to pods: the answers of this node's
 * processes to what another node has sent through the tunnel in the name of a pod
 * (masquerade), or on the way to a port that leads here; ICMP errors, which quote what they
 * are about; and what this node sends from a foreign address, as proxies in the kernel
 * (IPVS) do. The mark leads to the table of hosts, which has only peers behind the tunnel.
 */
function answers({ connections, mark }: Firewall): NftChain {
  const setInside: NftStatement = { kind: "setMark", mark: marksOf(mark).inside };
  const connectionMark: NftStatement = { kind: "hasConnectionMark", mark: connectionMarkOf(mark) };
  return {
    name: "answers",
    base: { type: "route", hook: "output", priority: beforeNatPriority, policy: "accept" },
    rules: families.flatMap((family): NftRule[] => {
      const toNode = inSet(family, "daddr", nodeSet(family));
      const fromOwn = inSet(family, "saddr", ownSet(family));
      return [
        ...(connections ? [[toNode, fromOwn, connectionMark, setInside]] : []),
        ...errors[family].map(
          (type): NftRule => [toNode, fromOwn, { kind: "icmp", family, type }, setInside],
        ),
        [toNode, { kind: "local", field: "saddr", not: true }, setInside],
      ];
    }),
  };
}

/**
 * Peers accept from the tunnel only what comes from a node IP of this node or
 * from its pods. What a process sends from any other address (a further one of the
 * uplink, a virtual one, one of a family without a node IP) they would drop, and
 * with it the answers to all that reached such an address, in plaintext. So it is
 * routed again, outside, and counted there; strict mode refuses it instead. Between
 * hosts nothing is refused, in strict mode neither.
 *
 * Not for what goes to a service's address: on its way to a pod its source is
 * translated too as a rule, and it then takes the tunnel.
 */
function foreignChains(firewall: Firewall): NftChain[] {
  const { strict, hostEncryption, mark, devices } = firewall;
  const setOutside: NftStatement = { kind: "setMark", mark: marksOf(mark).outside };
  const known = families.flatMap((family) => [
    // Nearly all that a node sends ends here, after one look-up.
    from(family, ownSet(family)),
    from(family, localSet(family)),
  ]);
  const toNodes = families.map((family): NftRule => [inSet(family, "daddr", nodeSet(family)), setOutside]);
  const foreign: NftChain = {
    name: "foreign",
    base: { type: "route", hook: "output", priority: beforeNatPriority, policy: "accept" },
    rules: [...known, ...(strict ? toNodes : byInterfaces(devices, "oif", setOutside))],
  };
  return [...(strict && !hostEncryption ? [] : [foreign]), ...(strict ? refusal(firewall) : [])];
}

/** These packets are dropped here, where they are counted and the sender is told. The other node would do neither. */
function refusal({ devices, uplinks }: Firewall): NftChain[] {
  return [
    {
      name: knownChain,
      rules: [
        ...families.flatMap((family) => [from(family, localSet(family)), from(family, ownSet(family))]),
        // Packets that other hosts would send through this node's tunnel are not this node's plaintext.
        ...byInterfaces(uplinks, "iif", goto(routedChain)),
        ...families.flatMap((family): NftRule[] => [
          [inSet(family, "daddr", podSet(family, "out")), drop],
          [inSet(family, "daddr", hostSet(family, "out")), drop],
        ]),
      ],
    },
    { name: routedChain, rules: [[{ kind: "countInterface", set: unknownSourceSet }], [drop]] },
    {
      name: "tunneled",
      base: { type: "filter", hook: "postrouting", priority: tunneledPriority, policy: "accept" },
      rules: byInterfaces(devices, "oif", goto(knownChain)),
    },
  ];
}

function from(family: Family, set: string): NftRule {
  return [inSet(family, "saddr", set), accept];
}

/**
 * What carries our mark is routed again, outside the tunnel. Exempt is what goes
 * to an exempt address or port and what comes from there, so that a connection
 * has both directions outside; and only between nodes: what a proxy on this node
 * sends by the address of a pod is the pod's.
 */
function exemptChains({ hostEncryption, exempt, mark }: Firewall): NftChain[] {
  if (!hostEncryption || exempt.length === 0) return [];
  const setMark: NftStatement = { kind: "setMark", mark: marksOf(mark).outside };
  return [
    { name: exemptChain, rules: exempt.flatMap(endsOf).map((end): NftRule => [...end, setMark]) },
    {
      name: "output",
      base: { type: "route", hook: "output", priority: exemptPriority, policy: "accept" },
      rules: families.flatMap((family): NftRule[] => [
        from(family, localSet(family)),
        [inSet(family, "daddr", nodeSet(family)), goto(exemptChain)],
      ]),
    },
  ];
}

/** Matches packets to the exempt end of a conversation, and packets from there. */
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
