// The chain for packets that our devices deliver. Peers send only to this node's IPs and to its pods,
// because they have no other allowed IPs for it. A packet with another destination comes from a
// compromised peer, or is for a pod that has ended. It is refused before connection tracking, so that no
// translation of this node can lead it on: to networks behind this node, to services on its other
// addresses, to another peer. Pure.
import type { NftChain, NftRule } from "../../net/nftables.ts";
import { accept, drop, inSet } from "./rules.ts";
import { families, localSet, ownSet, strayPacketSet } from "./sets.ts";

export const receivedChain = "received";

/** Counts the packet and sends an ICMP error to the peer, whose records may be outdated. */
export const refuseStray: NftRule = [{ kind: "countInterface", set: strayPacketSet }, { kind: "reject" }];

export function receivedChains(): NftChain[] {
  const here = families.flatMap((family): NftRule[] => [
    [inSet(family, "daddr", localSet(family)), accept],
    // An address that this node announces and does not have would be forwarded.
    [inSet(family, "daddr", ownSet(family)), { kind: "local", field: "daddr" }, accept],
  ]);
  // An ICMP error would come from that address. Peers accept nothing from it by the tunnel, so the error
  // would go outside and show the packet that it quotes. A node's former address is an example.
  const toOtherAddresses: NftRule = [
    { kind: "local", field: "daddr" },
    { kind: "countInterface", set: strayPacketSet },
    drop,
  ];
  return [{ name: receivedChain, rules: [...here, toOtherAddresses, refuseStray] }];
}
