// Landmarks are addresses that are no pod's, so a network of pods must not contain them: a node that routes
// or refuses such a network as a whole would do so with them, too. Pure.
//
//   of this node      node IPs, endpoints, addresses of its interfaces
//   of the peers      node IPs, endpoints
//   of the network    next hops of routes by interfaces that lead elsewhere, resolvers
//   of the cluster    the control plane, the API server
import type { Address, Link, Route } from "../../net/objects.ts";
import { prefixContains, prefixHolds } from "../../net/prefix.ts";
import type { NodeRecord } from "../../net/record.ts";
import { specialAddress } from "../../net/special.ts";
import type { Settings } from "../settings/settings.ts";

export interface Landmark {
  readonly ip: string;
  /** The owner, as it stands in a sentence: "the gateway of 0.0.0.0/0 on eth0". */
  readonly whose: string;
  /** The network that a gateway leads to. An overlay has gateways inside the network that it carries. */
  readonly towards?: string;
  /** True if a node may rightly be there. */
  readonly mayBeNode?: true;
  /** True if the address may lie in a network of pods. Then only a claim to this very address conflicts with its owner. */
  readonly alone?: true;
}

/** Facts from the store and the environment. */
export interface KnownHosts {
  readonly node: Pick<NodeRecord, "nodeIPs" | "endpoints">;
  readonly peers: readonly Pick<NodeRecord, "name" | "nodeIPs" | "endpoints">[];
  readonly settings: Pick<Settings, "controlPlane">;
  /** Addresses of the API server that this node uses. */
  readonly apiServers?: readonly string[];
}

export function knownLandmarks({ node, peers, settings, apiServers = [] }: KnownHosts): Landmark[] {
  const mayBeNode = true;
  return [
    ...node.nodeIPs.map((ip) => ({ ip, whose: "a node IP of this node" })),
    ...node.endpoints.map((ip) => ({ ip, whose: "an endpoint of this node" })),
    ...settings.controlPlane.map(({ ip }) => ({
      ip,
      whose: "the control plane (--control-plane)",
      mayBeNode,
    })),
    ...apiServers.map((ip) => ({ ip, whose: "the Kubernetes API", mayBeNode })),
    ...peers.flatMap(({ name, nodeIPs, endpoints }) => [
      ...nodeIPs.map((ip) => ({ ip, whose: `a node IP of ${name}` })),
      ...endpoints.map((ip) => ({ ip, whose: `an endpoint of ${name}` })),
    ]),
  ];
}

/** Facts from the kernel. */
export interface HostView {
  readonly links: readonly Pick<Link, "name" | "kind">[];
  readonly addresses: readonly Address[];
  /** Next hops, of the main table and those that rules name. */
  readonly gateways: readonly Required<Pick<Route, "dst" | "dev" | "via">>[];
  /** Interfaces that default routes leave by, and our own devices. */
  readonly uplinks: readonly string[];
  readonly ownDevices: readonly string[];
  /** Addresses of this host's name servers. */
  readonly resolvers?: readonly string[];
}

/** Hardware, and links that bundle or divide it: no plugin makes these for pods. */
const outwardKinds: readonly string[] = ["", "vlan", "bond", "team"];

/** A bridge of pods, an overlay or a pod's own link has addresses of the pods' network, rightly. */
export function hostLandmarks(view: HostView): Landmark[] {
  const { links, addresses, uplinks, ownDevices, resolvers = [] } = view;
  const outward = new Set(
    [
      ...uplinks,
      ...links
        .filter(({ kind, name }) => outwardKinds.includes(kind) && name !== "lo")
        .map(({ name }) => name),
    ].filter((dev) => !ownDevices.includes(dev)),
  );
  const mayBeNode = true;
  const gateways = view.gateways
    .filter(({ dev }) => outward.has(dev))
    .map(({ via, dev, dst }): Landmark => {
      return { ip: via, whose: `the gateway of ${dst} on ${dev}`, towards: dst, mayBeNode };
    });
  const own = addresses
    .filter(({ dev }) => !ownDevices.includes(dev))
    .map(({ ip, dev }): Landmark => {
      const landmark = { ip, whose: `this node's address on ${dev}` };
      return outward.has(dev) ? landmark : { ...landmark, alone: true };
    });
  const ownIPs = new Set(own.map(({ ip }) => ip));
  const servers = resolvers
    .filter((ip) => !ownIPs.has(ip))
    .map((ip) => ({ ip, whose: "a resolver of this node", mayBeNode }) satisfies Landmark);
  return [...own, ...gateways, ...servers].filter(({ ip }) => specialAddress(ip) === undefined);
}

/** Returns the first landmark that the prefix contains. */
export function findHeld(prefix: string, landmarks: readonly Landmark[]): Landmark | undefined {
  return landmarks.find(
    ({ ip, towards, alone }) =>
      alone !== true &&
      prefixHolds(prefix, ip) &&
      (towards === undefined || !prefixContains(prefix, towards)),
  );
}
