// The chain for what our devices deliver. A peer sends to this node's IPs and to its
// pods: nothing else is in the allowed IPs that peers have for it. What has another
// destination is a compromised peer's, or is for a pod that has gone. It is refused
// before connection tracking, so that no translation of this node can lead it on: to
// networks behind this node, to services on its other addresses, to another peer. Pure.
import type { NftChain, NftRule } from "../../net/nftables.ts";
import { accept, drop, inSet } from "./rules.ts";
import { families, localSet, ownSet, strayPacketSet } from "./sets.ts";

export const receivedChain = "received";

/** Counted, and the peer is told: its records may be older than what the packet is about. */
export const refuseStray: NftRule = [{ kind: "countInterface", set: strayPacketSet }, { kind: "reject" }];

export function receivedChains(): NftChain[] {
  const here = families.flatMap((family): NftRule[] => [
    [inSet(family, "daddr", localSet(family)), accept],
    // An address that this node announces and does not have would be forwarded.
    [inSet(family, "daddr", ownSet(family)), { kind: "local", field: "daddr" }, accept],
  ]);
  // An error about it would come from that address. Peers take nothing from it by the tunnel, so it
  // would go outside, and it quotes the packet: as a node's former address shows while it moves.
  const toOtherAddresses: NftRule = [
    { kind: "local", field: "daddr" },
    { kind: "countInterface", set: strayPacketSet },
    drop,
  ];
  return [{ name: receivedChain, rules: [...here, toOtherAddresses, refuseStray] }];
}
