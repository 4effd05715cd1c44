// The chains for what this node itself sends and the tunnel cannot take, or is
// not to: what comes from an address that the others do not know as this node's,
// and with host encryption what is exempt. Pods' packets pass through none that
// marks. Pure.
import type { Exemption, TransportProtocol } from "../net/exemption.ts";
import type { Family } from "../net/ip.ts";
import type { NftChain, NftRule, NftStatement } from "../net/nftables.ts";
import { type Firewall, families, localSet, nodeSet, ownSet, podSet } from "./firewall-sets.ts";

/** Ahead of what translates destinations (-100), where iptables has a packet routed again too. */
const foreignPriority = -150;
/**
 * Behind what translates destinations (-100): a packet to a service's address is
 * known by the address it really goes to, and what goes to a pod after all is not exempt.
 */
const exemptPriority = -50;
/** Behind what translates sources (100), so that they are what the other node would see. */
const tunneledPriority = 200;

const exemptChain = "exempt";
const knownChain = "known";

const accept: NftStatement = { kind: "verdict", verdict: "accept" };
const drop: NftStatement = { kind: "verdict", verdict: "drop" };

export function outputChains(firewall: Firewall): NftChain[] {
  return [...foreignChains(firewall), ...exemptChains(firewall)];
}

/**
 * The others take from the tunnel only what comes from a node IP of this node or
 * from its pods. What a process sends from any other address (a further one of the
 * uplink, a virtual one, one of a family without a node IP) they would drop, and
 * with it the answers to all that reached such an address, in clear. So it is
 * routed again, outside, and counted by the pods that it is looked up among; strict
 * mode refuses it instead. Between hosts nothing is refused, in strict mode neither.
 *
 * Not for what goes to a service's address: on its way to a pod its source is
 * translated too as a rule, and it then takes the tunnel.
 */
function foreignChains(firewall: Firewall): NftChain[] {
  const { strict, hostEncryption, mark } = firewall;
  const outside = (family: Family, set: string): NftRule => [
    { kind: "inSet", family, field: "daddr", set },
    { kind: "setMark", mark },
  ];
  const foreign: NftChain = {
    name: "foreign",
    base: { type: "route", hook: "output", priority: foreignPriority, policy: "accept" },
    rules: families.flatMap((family) => [
      // Nearly all that a node sends ends here, after one look.
      from(family, ownSet(family)),
      from(family, localSet(family)),
      ...(strict ? [] : [outside(family, podSet(family, "out"))]),
      ...(hostEncryption ? [outside(family, nodeSet(family))] : []),
    ]),
  };
  return [...(strict && !hostEncryption ? [] : [foreign]), ...(strict ? refusal(firewall) : [])];
}

/** Dropped here, where it is counted and the sender told, and not by the other node, which does neither. */
function refusal({ devices }: Firewall): NftChain[] {
  return [
    {
      name: knownChain,
      rules: families.flatMap((family) => [
        from(family, localSet(family)),
        from(family, ownSet(family)),
        [{ kind: "inSet", family, field: "daddr", set: podSet(family, "out") }, drop],
      ]),
    },
    {
      name: "tunneled",
      base: { type: "filter", hook: "postrouting", priority: tunneledPriority, policy: "accept" },
      rules: devices.map(
        (name): NftRule => [
          { kind: "interface", direction: "oif", name },
          { kind: "goto", chain: knownChain },
        ],
      ),
    },
  ];
}

function from(family: Family, set: string): NftRule {
  return [{ kind: "inSet", family, field: "saddr", set }, accept];
}

/**
 * What carries our mark is routed again, outside the tunnel. Exempt is what goes
 * to an exempt address or port and what comes from there, so that a connection
 * has both directions outside; and only between nodes: what a proxy on this node
 * sends by the address of a pod is the pod's.
 */
function exemptChains({ hostEncryption, exempt, mark }: Firewall): NftChain[] {
  if (!hostEncryption || exempt.length === 0) return [];
  const setMark: NftStatement = { kind: "setMark", mark };
  return [
    { name: exemptChain, rules: exempt.flatMap(endsOf).map((end): NftRule => [...end, setMark]) },
    {
      name: "output",
      base: { type: "route", hook: "output", priority: exemptPriority, policy: "accept" },
      rules: families.flatMap((family): NftRule[] => [
        from(family, localSet(family)),
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
