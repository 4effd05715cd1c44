// The chains that judge what arrives outside of the tunnel by the source that it claims.
// A packet that the source's own interface did not deliver is spoofed: it counts for no peer. In
// strict mode it is dropped, whatever the kernel's reverse-path filter is set to. Pure.
//
//   claimed source                     permissive                   strict: dropped if it came
//   ─────────────────────────────────  ───────────────────────────  ──────────────────────────────────
//   a pod of a peer                    counted                      in any way
//   a peer, to a pod of this node      counted                      in any way but by a translated port
//   a peer, to another host            marked                       in any way, services' addresses included
//   a peer, to this node               -                            by a pod's link
//   a pod of this node                 -                            by an uplink, or another pod's link
//   a cluster CIDR, of no known pod    -                            by an uplink, or routed to by one
//   an address of this node            -                            by any interface
import type { NftChain, NftRule, NftStatement } from "../../net/nftables.ts";
import { marksOf } from "./marks.ts";
import { accept, byInterfaces, drop, goto, inSet } from "./rules.ts";
import {
  arrivedSet,
  type Firewall,
  families,
  hostSet,
  localSet,
  nodeSet,
  podSet,
  spoofedSet,
} from "./sets.ts";

export const spoofedChain = "spoofed";
const localsChain = "locals";
const nodesChain = "nodes";
const elsewhereChain = "elsewhere";
const hostsChain = "hosts";
const othersChain = "others";

/** The host's end of Cilium's routes: they lead to it, and pods' packets arrive on links of their own. */
export const ciliumHost = "cilium_host";

/** A packet whose mark is the one of plaintext is judged by the routes that there are without our tables. */
export function ifSpoofed(): NftRule {
  return [{ kind: "routedBack", marked: true, not: true }, goto(spoofedChain)];
}

/** Counts what is a peer's own, by its element, and by its interface. */
export function countArrived({ strict }: Firewall, set: typeof podSet): NftRule[] {
  return [
    [{ kind: "countInterface", set: arrivedSet }],
    ...families.map((family): NftRule => [inSet(family, "saddr", set(family, "in")), ...dropIf(strict)]),
  ];
}

/** Pods of peers come first. Everything else is judged by the chain "others", and no element counts it. */
export function fromPeersPods(firewall: Firewall): NftRule[] {
  return [
    ...families.map(
      (family): NftRule => [
        { kind: "inSet", family, field: "saddr", set: podSet(family, "in"), not: true },
        goto(othersChain),
      ],
    ),
    [{ kind: "setMark", mark: marksOf(firewall.mark).arrived }],
    ...toOwnDevices(firewall),
    ifSpoofed(),
    ...countArrived(firewall, podSet),
  ];
}

/**
 * WireGuard itself knows whom its messages come from, and a node must be heard whose address
 * another one has claimed for pods: its handshake is what shows that it has the address.
 */
function toOwnDevices({ ports }: Firewall): NftRule[] {
  return ports.map(
    (port): NftRule => [
      { kind: "port", protocol: "udp", field: "dport", port },
      { kind: "wireguardMessage" },
      { kind: "local", field: "daddr" },
      accept,
    ],
  );
}

/** The chains that the rules of fromPeersPods lead to. */
export function sourceChains(firewall: Firewall): NftChain[] {
  const { strict } = firewall;
  return [
    {
      name: spoofedChain,
      rules: [[{ kind: "countInterface", set: spoofedSet }], ...(strict ? [[drop]] : [])],
    },
    ...(strict
      ? [
          { name: elsewhereChain, rules: [ifSpoofed(), ...countArrived(firewall, hostSet)] },
          betweenHosts(firewall),
        ]
      : []),
    fromNodes(firewall),
    ...(strict ? [fromLocalPods(firewall)] : []),
    {
      name: othersChain,
      rules: [
        ...families.map((family): NftRule => [inSet(family, "saddr", nodeSet(family)), goto(nodesChain)]),
        ...(strict ? ownSources : []),
      ],
    },
  ];
}

/** No other interface than the loopback delivers what this node itself has sent, but for copies of its multicasts. */
const ownSources: readonly NftRule[] = [
  ...families.map((family): NftRule => [inSet(family, "saddr", localSet(family)), goto(localsChain)]),
  [{ kind: "local", field: "saddr" }, { kind: "routedBack", not: true }, goto(spoofedChain)],
];

/**
 * With host encryption our tables have the nodes themselves behind the tunnel, for every
 * packet: those of the tunnel and the exempt included. Without it only for what is forwarded.
 */
function fromNodes({ strict, mark, hostEncryption }: Firewall): NftChain {
  const setArrived: NftStatement = { kind: "setMark", mark: marksOf(mark).arrived };
  if (!strict) {
    const isForwarded: NftStatement[] = hostEncryption ? [] : [{ kind: "local", field: "daddr", not: true }];
    return { name: nodesChain, rules: [[...isForwarded, setArrived]] };
  }
  // Nearly all that comes from nodes are the tunnel's packets, for this node: one look-up is all they pay.
  const toThisNode: NftRule = [{ kind: "local", field: "daddr" }, goto(hostsChain)];
  return {
    name: nodesChain,
    rules: [
      ...(hostEncryption ? [[setArrived], toThisNode] : [toThisNode, [setArrived]]),
      ...elsewhere,
      [goto(hostsChain)],
    ],
  };
}

/** Packets between nodes may arrive on any of several uplinks, but on no pod's link. */
function betweenHosts({ uplinks }: Firewall): NftChain {
  return { name: hostsChain, rules: [...byInterfaces(uplinks, "iif", accept), ifSpoofed()] };
}

/** Not to this node, nor to several: a service's address too, which this node would translate. */
const elsewhere: readonly NftRule[] = (["unicast", "blackhole", "unreachable", "prohibit"] as const).map(
  (type) => [{ kind: "routeType", type }, goto(elsewhereChain)],
);

/**
 * A pod whose address this node reaches by an uplink is connected by something that has
 * routes of its own (as AWS has for a security group's pods): its link is not known.
 */
function fromLocalPods({ uplinks }: Firewall): NftChain {
  return {
    name: localsChain,
    rules: [
      ...byInterfaces(uplinks, "iif", goto(spoofedChain)),
      [{ kind: "routedBack" }, accept],
      ...[...uplinks, ciliumHost].map((device): NftRule => [{ kind: "routedBackBy", device }, accept]),
      [goto(spoofedChain)],
    ],
  };
}

function dropIf(strict: boolean): NftStatement[] {
  return strict ? [drop] : [];
}
