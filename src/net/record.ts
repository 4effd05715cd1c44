// The node record has everything that other nodes need to send encrypted traffic to a node. `node
// show` prints it, `peer import` reads it, and the store has one for each peer. Records from outside are
// parsed by plan/records/record.ts.

/** One of a node's two WireGuard devices. */
export type Slot = "a" | "b";

/**
 * "active": route traffic here. "draining": works, but move to the other slot;
 * its key is about to change. "withdrawn": do not use.
 */
export type SlotState = "active" | "draining" | "withdrawn";

export interface SlotRecord {
  readonly slot: Slot;
  readonly publicKey: string;
  /** UDP port the slot listens on, as peers reach it. */
  readonly port: number;
  readonly state: SlotState;
  /** Shows that the node has the private key (state/proof.ts), as base64; absent in records that were made without. */
  readonly proof?: string;
}

export interface NodeRecord {
  readonly name: string;
  /** Empty if the node cannot encrypt (yet): a keyless peer. */
  readonly slots: readonly SlotRecord[];
  /** Underlay addresses, best first. */
  readonly endpoints: readonly string[];
  readonly nodeIPs: readonly string[];
  readonly podCIDRs: readonly string[];
  /**
   * Names of nodes that this one asks to begin a handshake, because its own are not answered: its
   * clock was set back, or a firewall admits only answers. Absent if there are none.
   */
  readonly wantsHandshakeFrom?: readonly string[];
}

/** The source of a peer's record. One from the records directory leaves with its file, one from the Kubernetes API with its object. */
export type PeerSource = "import" | "directory" | "kube";
