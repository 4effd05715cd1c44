// The chains for packets that this node itself sends: answers that belong into the tunnel, and packets
// that stay outside. These have a source address that the peers do not know as this node's, or are
// exempt from host encryption. Pods' packets pass through none of the chains that mark. Pure.
import type { Exemption, TransportProtocol } from "../../net/exemption.ts";
import type { Family } from "../../net/ip.ts";
import type { NftChain, NftRule, NftStatement } from "../../net/nftables.ts";
import { connectionMarkOf, marksOf } from "./marks.ts";
import {
  accept,
  byInterfaces,
  from,
  goto,
  icmpErrors,
  inSet,
  looksEncrypted,
  looksLikeCheck,
  rawPriority,
} from "./rules.ts";
import { type Firewall, families, localSet, nodeSet, ownSet } from "./sets.ts";

/** This priority comes before destinations are translated (-100), at which iptables routes a packet again, too. */
const beforeNatPriority = -150;
/**
 * This priority comes after destinations are translated (-100): a packet to a service's address has its
 * real destination by then, and one that goes to a pod after all is not exempt.
 */
const exemptPriority = -50;
/** This priority is between the two: a mark that a packet still has here was not set for an exemption. */
const translatedPriority = -60;

const exemptChain = "exempt";

export function outputChains(firewall: Firewall): NftChain[] {
  return [
    answers(firewall),
    ...foreignChains(firewall),
    ...exemptChains(firewall),
    ...markedChains(firewall),
  ];
}

/**
 * With host encryption our marks lead to other nodes in plaintext, and any process that may open raw
 * sockets can set them. So a packet to a node loses the mark that it comes with, and the other chains
 * decide. A packet to a service's address loses it once it is translated to a node's. By then a chain of ours may have
 * marked it, but only for a source that is not this node's own.
 */
function markedChains(firewall: Firewall): NftChain[] {
  const { connections, hostEncryption } = firewall;
  if (!hostEncryption) return [];
  const translated = families.map((family): NftStatement[] => [
    { kind: "translated", of: "destination" },
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

/** Removes the marks that lead past the tunnel from packets that meet one of the lists of conditions, and look neither encrypted nor like a port check. */
function unmark(firewall: Firewall, packets: readonly NftStatement[][]): NftRule[] {
  const { outside, arrived, none } = marksOf(firewall.mark);
  return [
    [{ kind: "hasMark", mark: none }, accept],
    ...[...looksEncrypted(firewall), ...looksLikeCheck(firewall)].map((looks): NftRule => [...looks, accept]),
    ...packets.flatMap((conditions) =>
      [outside, arrived].map(
        (mark): NftRule => [{ kind: "hasMark", mark }, ...conditions, { kind: "setMark", mark: none }],
      ),
    ),
  ];
}

/**
 * Marks traffic between hosts that belongs to pods and so into the tunnel: the answers of this node's
 * processes to packets that another node has sent through the tunnel for a pod (masquerade), or to a
 * port that leads here; ICMP errors, which quote the packet that they are about; and packets that this
 * node sends from a foreign address, as proxies in the kernel (IPVS) do. All other traffic between hosts
 * stays outside. The mark leads to the table of hosts, which has only peers behind the tunnel.
 */
function answers(firewall: Firewall): NftChain {
  const { connections, mark } = firewall;
  const setInside: NftStatement = { kind: "setMark", mark: marksOf(mark).inside };
  const connectionMark: NftStatement = { kind: "hasConnectionMark", mark: connectionMarkOf(mark) };
  // A device's packet is never routed into a device again, whatever a peer has made of its connection: it
  // would be encrypted without end.
  const encrypted = looksEncrypted(firewall).map((looks): NftRule => [...looks, accept]);
  const answersOf = (family: Family): NftRule[] => {
    const toNode = inSet(family, "daddr", nodeSet(family));
    const fromOwn = inSet(family, "saddr", ownSet(family));
    return [
      ...(connections ? [[toNode, fromOwn, connectionMark, setInside]] : []),
      ...icmpErrors[family].map(
        (type): NftRule => [toNode, fromOwn, { kind: "icmp", family, type }, setInside],
      ),
      [toNode, { kind: "local", field: "saddr", not: true }, setInside],
    ];
  };
  return {
    name: "answers",
    base: { type: "route", hook: "output", priority: beforeNatPriority, policy: "accept" },
    rules: [...encrypted, ...families.flatMap(answersOf)],
  };
}

/**
 * Peers accept from the tunnel only packets from a node IP of this node or from its pods. They would
 * drop packets that a process sends from any other address (a further one of the uplink, a virtual one,
 * one of a family without a node IP), also the answers to packets that reached such an address in
 * plaintext. So these packets are routed again, outside, and counted there; strict mode refuses them
 * instead. Between hosts no packet is refused, not even in strict mode.
 *
 * Packets to a service's address are left alone: on the way to a pod their source is usually translated,
 * too, and they then take the tunnel.
 */
function foreignChains(firewall: Firewall): NftChain[] {
  const { strict, hostEncryption, mark, devices } = firewall;
  if (strict && !hostEncryption) return [];
  const setOutside: NftStatement = { kind: "setMark", mark: marksOf(mark).outside };
  // Nearly all packets that a node sends end here, after one look-up.
  const known = families.flatMap((family) => [from(family, ownSet(family)), from(family, localSet(family))]);
  const toNodes = families.map((family): NftRule => [inSet(family, "daddr", nodeSet(family)), setOutside]);
  return [
    {
      name: "foreign",
      base: { type: "route", hook: "output", priority: beforeNatPriority, policy: "accept" },
      rules: [...known, ...(strict ? toNodes : byInterfaces(devices, "oif", setOutside))],
    },
  ];
}

/**
 * Marks exempt packets, which are then routed again, outside the tunnel. Packets to an exempt address or
 * port and packets from there are exempt, so that both directions of a connection are outside. This holds
 * only between nodes: packets that a proxy on this node sends from the address of a pod are the pod's.
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
