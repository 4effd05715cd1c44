// The chains that judge packets that arrive outside of the tunnel, by the source that they claim.
// A packet that the source's own interface did not deliver is spoofed: it counts for no peer. In
// strict mode it is dropped, whatever the kernel's reverse-path filter is set to. Pure.
//
//   claimed source                     permissive                   strict: dropped if it came
//   ─────────────────────────────────  ───────────────────────────  ──────────────────────────────────
//   a pod of a peer                    counted                      in any way
//   a peer, to a pod of this node      counted                      in any way but by a translated port
//   a peer, to another host            counted apart, marked        in any way, services' addresses included
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
  transitSet,
} from "./sets.ts";

export const spoofedChain = "spoofed";
const localsChain = "locals";
const nodesChain = "nodes";
const elsewhereChain = "elsewhere";
const hostsChain = "hosts";
const otherSourcesChain = "other_sources";

/** The host's end of Cilium's routes: they lead to it, and pods' packets arrive on links of their own. */
export const ciliumHost = "cilium_host";

/** Judges a packet with the mark of plaintext by the routes outside of our tables. */
export function ifSpoofed(): NftRule {
  return [{ kind: "routedBack", marked: true, not: true }, goto(spoofedChain)];
}

/** Counts packets that come from a peer itself, by the peer's element and by the interface. */
export function countArrived({ strict }: Firewall, set: typeof podSet): NftRule[] {
  return [
    [{ kind: "countInterface", set: arrivedSet }],
    ...families.map((family): NftRule => [inSet(family, "saddr", set(family, "in")), ...dropIf(strict)]),
  ];
}

/** Handles the pods of peers first. The chain "other_sources" judges all other packets, and no element counts them. */
export function fromPeersPods(firewall: Firewall): NftRule[] {
  return [
    ...families.map(
      (family): NftRule => [
        { kind: "inSet", family, field: "saddr", set: podSet(family, "in"), not: true },
        goto(otherSourcesChain),
      ],
    ),
    [{ kind: "setMark", mark: marksOf(firewall.mark).arrived }],
    ...toOwnDevices(firewall),
    ifSpoofed(),
    ...countArrived(firewall, podSet),
  ];
}

/**
 * Accepts WireGuard's messages, because WireGuard itself knows their senders. A node whose address another
 * node has claimed for pods must get through: its handshake shows that it has the address.
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

/** Makes the chains that the rules of fromPeersPods lead to. */
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
      : [{ name: elsewhereChain, rules: countTransit }]),
    fromNodes(firewall),
    ...(strict ? [fromLocalPods(firewall)] : []),
    {
      name: otherSourcesChain,
      rules: [
        ...families.map((family): NftRule => [inSet(family, "saddr", nodeSet(family)), goto(nodesChain)]),
        ...(strict ? ownSources : []),
      ],
    },
  ];
}

/** Only the loopback interface delivers packets that this node itself has sent, except copies of its multicasts. */
const ownSources: readonly NftRule[] = [
  ...families.map((family): NftRule => [inSet(family, "saddr", localSet(family)), goto(localsChain)]),
  [{ kind: "local", field: "saddr" }, { kind: "routedBack", not: true }, goto(spoofedChain)],
];

/**
 * With host encryption our tables have the nodes themselves behind the tunnel for every packet, also for
 * encrypted and exempt ones. Without it they do so only for forwarded packets.
 */
function fromNodes({ strict, mark, hostEncryption }: Firewall): NftChain {
  const setArrived: NftStatement = { kind: "setMark", mark: marksOf(mark).arrived };
  if (!strict) {
    // Nearly all packets from nodes are encrypted packets for this node.
    const toThisNode: NftRule = [{ kind: "local", field: "daddr" }, accept];
    return {
      name: nodesChain,
      rules: hostEncryption
        ? [[setArrived], toThisNode, ...elsewhere]
        : [toThisNode, [setArrived], ...elsewhere],
    };
  }
  // Nearly all packets from nodes are encrypted packets for this node: they need only one look-up.
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

/** Matches destinations that are neither this node nor several hosts; a service's address, which this node would translate, is one. */
const elsewhere: readonly NftRule[] = (["unicast", "blackhole", "unreachable", "prohibit"] as const).map(
  (type) => [{ kind: "routeType", type }, goto(elsewhereChain)],
);

/**
 * If this node reaches a pod's address by an uplink, another component routes the pod (as AWS does for a
 * security group's pods), and the pod's link is not known.
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

/**
 * Strict mode drops these packets at the same place, whatever this node would make of their destination later. A
 * forged packet, which came by another interface than the peer's, counts for no peer.
 */
const countTransit: readonly NftRule[] = families.map((family) => [
  { kind: "routedBack", marked: true },
  inSet(family, "saddr", transitSet(family)),
]);

function dropIf(strict: boolean): NftStatement[] {
  return strict ? [drop] : [];
}
