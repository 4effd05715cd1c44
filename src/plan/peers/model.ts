import type { NodeRecord, Slot, SlotRecord } from "../../net/record.ts";

// Peers and their claims as plain values.

/** A peer's record with the order in which it claimed each key, CIDR and node IP (as /32 or /128). */
export interface ClaimingPeer {
  readonly record: NodeRecord;
  /** The sequence number of each claim; lower is earlier. It is read only if two peers claim the same. */
  readonly claimedAt: () => ReadonlyMap<string, number>;
  /** Slots whose proof is not of this node, slot and key. Absent if there are none. */
  readonly unproven?: readonly Slot[];
}

/** The claims of this node. No peer may claim any of them. */
export interface LocalClaims {
  readonly name: string;
  readonly publicKeys: readonly string[];
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
}

export interface Refusal {
  readonly peer: string;
  /** The key, CIDR or address. */
  readonly claim: string;
  /** The owner's name; empty if no other node is known to have it. */
  readonly owner: string;
  /** A sentence for `peer list` and the log. */
  readonly reason: string;
  /** True if the refusal may end at any moment, because the claim is being checked. */
  readonly isPending?: true;
}

/** A peer with what it owns after all claims were weighed. */
export interface OwnedPeer {
  readonly name: string;
  readonly slots: readonly SlotRecord[];
  readonly endpoints: readonly string[];
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
  /** Slots that its record offers, and whose key is another node's or not proven to be its own. Absent if there are none. */
  readonly refusedSlots?: readonly Slot[];
  /** Present if this node has lost both its slots, and the peer, which was not told, goes on to encrypt to it. */
  readonly waitsForSlot?: true;
  /** Present if its record names endpoints, and all of them are addresses of this node. */
  readonly endpointsRefused?: true;
  /** Names of nodes that the peer asks to begin a handshake. */
  readonly wantsHandshakeFrom?: readonly string[];
  /** Node IPs that the peer claims and no handshake has proven. They do not count; absent if there are none. */
  readonly unprovenIPs?: readonly string[];
  /** The unproven node IPs that no other peer has, or has claimed before. */
  readonly earlyIPs?: readonly string[];
  /** The addresses among these that the peer may send from meanwhile: they are near this node, and nothing else is known to be there. */
  readonly sourceIPs?: readonly string[];
  /** The early addresses that are known to be a node's. They are refused to pods until a handshake shows which node's. */
  readonly barredIPs?: readonly string[];
}

export interface Ownership {
  /** The peers sorted by name. */
  readonly peers: readonly OwnedPeer[];
  readonly refusals: readonly Refusal[];
}
