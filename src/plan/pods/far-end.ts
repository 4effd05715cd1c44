// Judges if the packets of a chained pod pass this node's routing, where they are encrypted, and
// if its addresses belong to this node. Another plugin made the pod, and the author of a network
// configuration (Multus, static IPAM) may choose both. The kernel's state decides, not the plugin's
// result. Pure.
//
//   the pod's interface                                       its traffic
//   ────────────────────────────────────────────────────────  ──────────────────────────
//   macvlan, ipvlan, a device of the hardware, a tap          leaves without this node
//   an end of a pair whose other end is elsewhere             is another program's
//   a pair that ends here, the route back by it               is routed here
//   a pair that ends here, the route back by an uplink        is not answered by it
//   a pair on a bridge, the pod's gateway is this node        is routed here
//   a pair on a bridge, the pod's gateway is another host     is switched past this node
//   a pair on a bridge with a way out, the pod has no gateway is switched past this node
//   a pair on any other switch (Open vSwitch)                 is switched past this node
import type { Link } from "../../net/objects.ts";

/** Kinds of links that come as two ends, one of which a pod has. */
export const pairKinds: readonly string[] = ["veth", "netkit"];
/** Ports of a bridge that lead to pods and virtual machines. */
const inwardKinds: readonly string[] = [...pairKinds, "tun", "dummy"];

/** The connection between a pod and its node, as the kernel shows it. */
export interface PodConnection {
  readonly ifname: string;
  /** Absent if the pod's namespace has no interface of that name. */
  readonly link?: Link;
  /** The other end of the pod's interface, if that is in the node's namespace. */
  readonly end?: Link;
  /** The bridge or switch that the end is a port of. */
  readonly master?: Link;
  /** Kinds of the other ports; read only if the pod has no gateway. */
  readonly portKinds?: readonly string[];
  /** Next hops of the pod's default routes by the interface. */
  readonly gateways: readonly { readonly ip: string; readonly isNode: boolean }[];
  /** The interface that the node sends to each of the pod's addresses by. */
  readonly routes: readonly RouteBack[];
  /** Read only if a route back is by neither the end nor its master. */
  readonly uplinks?: readonly string[];
}

export interface RouteBack {
  readonly ip: string;
  /** Absent if there is no route. */
  readonly dev?: string;
  /** It is an address of the node itself. */
  readonly isNode?: true;
}

/** Explains why the pod's traffic is not routed by this node; undefined if it is. */
export function findBypass(connection: PodConnection): string | undefined {
  const { ifname, link, end, master } = connection;
  if (link === undefined) return `the pod's namespace has no interface ${ifname}`;
  if (!pairKinds.includes(link.kind)) return `${ifname} is ${describeKind(link.kind)}`;
  if (end === undefined) return `the other end of ${ifname} is not in this node's network namespace`;
  if (master !== undefined) return findSwitched(connection, end, master);
  return findRouteAside(connection, [end.name]);
}

function describeKind(kind: string): string {
  return kind === "" ? "a device of the hardware" : `an interface of kind ${kind}`;
}

function findSwitched(connection: PodConnection, end: Link, master: Link): string | undefined {
  if (master.kind === "vrf") return undefined;
  if (master.kind !== "bridge")
    return `${end.name} is a port of ${master.name}, which is ${describeKind(master.kind)}`;
  const other = connection.gateways.find(({ isNode }) => !isNode);
  if (other !== undefined)
    return `it sends by the bridge ${master.name} to ${other.ip}, which is not this node`;
  const isOutward = connection.portKinds?.some((kind) => !inwardKinds.includes(kind)) ?? false;
  if (connection.gateways.length === 0 && isOutward)
    return `it has no gateway, and the bridge ${master.name} leads out of this node`;
  return connection.gateways.length === 0 ? undefined : findRouteAside(connection, [end.name, master.name]);
}

/** True for an interface of another CNI (cilium_host), by which a route leads to the pod as well. */
function findRouteAside(
  { routes, uplinks = [] }: PodConnection,
  devs: readonly string[],
): string | undefined {
  const aside = routes.find(({ dev }) => dev === undefined || (!devs.includes(dev) && uplinks.includes(dev)));
  if (aside === undefined) return undefined;
  return aside.dev === undefined
    ? `this node has no route to ${aside.ip}`
    : `this node sends what is for ${aside.ip} by ${aside.dev}`;
}

/** The addresses of a pod that we neither keep out of the tunnel nor announce, as its record has them (`restore` in the store). */
export type Outside = {
  readonly ips: readonly string[];
  /** A clause: "eth0 is an interface of kind macvlan". */
  readonly why: string;
  /** "bypass": its traffic is not routed here. "taken": the addresses belong to another owner. */
  readonly kind: "bypass" | "taken";
};

export function readOutside(restore: unknown): Outside | undefined {
  return typeof restore === "object" && restore !== null
    ? (restore as { readonly outside?: Outside }).outside
    : undefined;
}

/** Describes such a pod in a sentence. */
export function describeOutside({ ips, why, kind }: Outside): string {
  const named = ips.join(", ");
  return kind === "bypass"
    ? `what the pod at ${named || "no address"} sends is not routed by this node, and so not encrypted: ${why}`
    : `${named} cannot be this node's pod: ${why}`;
}
