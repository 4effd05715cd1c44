import type { NodeRecord, Slot, SlotRecord } from "../../net/record.ts";

// Peers and what they claim, as plain values.

/** A peer's record with the order in which it claimed each key, CIDR and node IP (as /32 or /128). */
export interface ClaimingPeer {
  readonly record: NodeRecord;
  /** Sequence number a claim; lower is earlier. Asked for only where two claim the same. */
  readonly claimedAt: () => ReadonlyMap<string, number>;
  /** Slots whose proof is not of this node, slot and key. Absent if there are none. */
  readonly unproven?: readonly Slot[];
}

/** What this node holds; no peer may claim any of it. */
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
  /** Empty if nobody else is known to have it. */
  readonly owner: string;
  /** A sentence for `peer list` and the log. */
  readonly reason: string;
  /** True if it may be settled by itself any moment: it is asked whether the claim is right. */
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
  /** Present if its record names endpoints, and all of them are addresses of this node. */
  readonly endpointsRefused?: true;
  /** Names of nodes that it asks to begin a handshake. */
  readonly wantsHandshakeFrom?: readonly string[];
  /** Node IPs that it claims and no handshake has shown, so that they do not count; absent if there are none. */
  readonly unshownIPs?: readonly string[];
  /** Those of them that no other peer has, or has claimed before. */
  readonly earlyIPs?: readonly string[];
  /** Those of these that the peer may send from meanwhile: near this node, and nothing else is known to be there. */
  readonly sourceIPs?: readonly string[];
  /** Those of the early ones that are known to be a node's, and are refused to pods until it is shown whose. */
  readonly barredIPs?: readonly string[];
}

export interface Ownership {
  /** Sorted by name. */
  readonly peers: readonly OwnedPeer[];
  readonly refusals: readonly Refusal[];
}
