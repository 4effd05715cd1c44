// The chains for packets that our devices deliver. Peers send only to this node's IPs and to its pods,
// because they have no other allowed IPs for it. A packet with another destination comes from a
// compromised peer, or is for a pod that has ended. It is refused before connection tracking, so that no
// translation of this node can lead it on: to networks behind this node, to services on its other
// addresses, to another peer.
//
//   packet of a device ──► prerouting: received ──► translation, the host's routes,  ──► input: taken
//                          is it for this node?     source routes of the packet          is it still?
//                                                                                   └──► forward: passing (table.ts)
//
// A host may obey source routes. Those of IPv4 are followed between the two hooks: the destination has become
// another address of this node. IPv6's routing headers (segments among them) are read only after the last hook:
// they lead on to other addresses of this node, or a packet that is inside is taken out, and then comes by our
// device with any source. Pure.
import type { Family } from "../../net/ip.ts";
import type { NftChain, NftRule } from "../../net/nftables.ts";
import { accept, byInterfaces, drop, goto, inSet, rawPriority } from "./rules.ts";
import { type Firewall, families, localSet, ownSet, strayPacketSet } from "./sets.ts";

export const receivedChain = "received";
const takenChain = "taken";

/** Counts the packet and sends an ICMP error to the peer, whose records may be outdated. */
export const refuseStray: NftRule = [{ kind: "countInterface", set: strayPacketSet }, { kind: "reject" }];

/**
 * An ICMP error would come from the address that the packet is for. Peers accept nothing from it by the tunnel, so
 * the error would go outside and show the packet that it quotes. A node's former address is an example.
 */
const countAndDrop = [{ kind: "countInterface", set: strayPacketSet }, drop] as const;

export function receivedChains(firewall: Firewall): NftChain[] {
  const here = families.flatMap((family): NftRule[] => [
    [inSet(family, "daddr", localSet(family)), accept],
    // An address that this node announces and does not have would be forwarded.
    [inSet(family, "daddr", ownSet(family)), { kind: "local", field: "daddr" }, accept],
  ]);
  return [
    {
      name: receivedChain,
      rules: [...here, [{ kind: "local", field: "daddr" }, ...countAndDrop], refuseStray],
    },
    taken(firewall),
    {
      name: "input",
      base: { type: "filter", hook: "input", priority: rawPriority, policy: "accept" },
      rules: byInterfaces(firewall.devices, "iif", goto(takenChain)),
    },
  ];
}

/**
 * Takes what is for this node's IPs and pods, and what this node has translated. The text of an option does not
 * decide: nftables finds a source route only if it can read all other options, and which it can depends on the
 * process that the packet interrupts.
 */
function taken({ connections }: Firewall): NftChain {
  const to = (family: Family): NftRule[] => [
    [inSet(family, "daddr", ownSet(family)), accept],
    [inSet(family, "daddr", localSet(family)), accept],
  ];
  // A translated packet may have been led on, too. The answer to one whose source this node has translated has got
  // that source as its destination by now, which may be another address of this node.
  const translated: NftRule[] = [
    [{ kind: "ipOptions" }, ...countAndDrop],
    [{ kind: "translated", of: "either" }, accept],
  ];
  return {
    name: takenChain,
    rules: [
      ...to(4),
      [{ kind: "routingHeader" }, ...countAndDrop],
      ...to(6),
      ...(connections ? translated : []),
      [...countAndDrop],
    ],
  };
}
