// The interfaces that lead to other nodes and the rest of the world, and to no pod of
// this node: a packet in the name of one of its pods that leaves by them is on a wrong
// way. Pure.
import type { Link } from "../../net/objects.ts";

/** Kinds of interfaces that a host is connected by ("" is hardware), and those of networks between hosts. */
const hostKinds: ReadonlySet<string> = new Set([
  ...["", "bond", "team", "vlan"],
  ...["vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "ipip", "ip6tnl", "sit", "wireguard"],
]);

/** Kinds of interfaces that pods and virtual machines are connected by. */
const podKinds: ReadonlySet<string> = new Set(["veth", "tun"]);

/**
 * Sorted names. `routed`: what routes to other nodes and of last resort leave by.
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
