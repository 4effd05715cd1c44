// Finds the uplinks: interfaces that lead to other nodes and the rest of the world, and to no pod of this
// node. A packet to one of this node's pods never leaves by an uplink. Pure.
import type { Link } from "../../net/objects.ts";

/** Kinds of interfaces that connect a host ("" is hardware), and those of networks between hosts. */
const hostKinds: ReadonlySet<string> = new Set([
  ...["", "bond", "team", "vlan"],
  ...["vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit", "wireguard"],
]);

/** Kinds of interfaces that connect pods and virtual machines. */
const podKinds: ReadonlySet<string> = new Set(["veth", "tun"]);

/**
 * Returns sorted names. `routed`: the interfaces of default routes and of routes to other nodes.
 * `own`: our devices. A bridge with such ports leads to pods, even if the
 * uplink is one of its ports too.
 */
export function chooseUplinks(
  links: readonly Link[],
  routed: ReadonlySet<string>,
  own: readonly string[],
): string[] {
  const withPods = new Set(
    links.flatMap(({ kind, masterIndex }) => (podKinds.has(kind) ? [masterIndex] : [])),
  );
  const isUplink = ({ index, name, kind }: Link) =>
    name !== "lo" && !own.includes(name) && !withPods.has(index) && (routed.has(name) || hostKinds.has(kind));
  return links
    .filter(isUplink)
    .map(({ name }) => name)
    .sort();
}
