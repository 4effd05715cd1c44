// The content of the store, as values: the types of its rows, without how they are
// stored (one file a table) or what they mean to the kernel (plan/).
import type { NodeRecord, PeerSource, Slot, SlotState } from "../net/record.ts";

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** This node, as configured, with its keys. */
export interface Identity {
  readonly name: string;
  /** Underlay addresses, best first. */
  readonly endpoints: readonly string[];
  /** True if the endpoints were not typed but found, and follow the interface. */
  readonly endpointsFound: boolean;
  readonly nodeIPs: readonly string[];
  /** True if the node IPs were not typed: they are the endpoints, and follow them. */
  readonly nodeIPsFollow: boolean;
  readonly podCIDRs: readonly string[];
  readonly slots: readonly IdentitySlot[];
  /**
   * True while the node leaves the mesh: its record says that it has no key. If it is
   * not up, an agent that is there for that (`agent --leave`) has taken it out.
   */
  readonly leaving?: true;
  /** True if the mesh is wanted: `up` was run, and not `down` since. */
  readonly up: boolean;
  /** The machine that `up` was run on (src/linux/machine.ts); absent if it is not known, or Kubernetes names the node. */
  readonly machine?: string;
}

export interface IdentitySlot {
  readonly slot: Slot;
  /** Unix milliseconds at which the key was made. */
  readonly createdAtMs: number;
  readonly publicKey: string;
  /** Opened by seal.ts only. */
  readonly sealedPrivateKey: Uint8Array;
  readonly state: SlotState;
  /** Shows other nodes that this node has the key; absent if it was made without. */
  readonly proof?: string;
  /** Present while the slot cannot be used: the record then has the state "withdrawn", whatever `state` is. */
  readonly fault?: SlotFault;
}

/** The reason why a slot of this node cannot be used. */
export interface SlotFault {
  /** "conflict": another program has its port or name. "failure": creating the device failed, which is tried again. */
  readonly kind: "conflict" | "failure";
  /** A sentence, with a remedy. */
  readonly reason: string;
}

export interface StoredPeer {
  readonly record: NodeRecord;
  /** Thousands of them are read, and hardly ever does it matter who was first: parsed when asked for. */
  readonly claims: () => PeerClaims;
  /** Slots whose proof is not of this node, slot and key. */
  readonly unproven: readonly Slot[];
  readonly source: PeerSource;
  /** Generation at which the record last changed. */
  readonly changedAt: number;
}

/**
 * The order in which a peer's claims were first made. If two peers claim the same,
 * the one with the lower `seq` is the established owner; a claim that
 * is dropped and made again has a new `seq`.
 */
export interface PeerClaims {
  readonly keyClaims: readonly { readonly publicKey: string; readonly seq: number }[];
  readonly cidrClaims: readonly { readonly cidr: string; readonly seq: number }[];
  /** Node IPs are allowed IPs too, so they can be contested like CIDRs. */
  readonly nodeIPClaims: readonly { readonly ip: string; readonly seq: number }[];
}

/** A rotation of this node's keys that is going on. */
export interface Rotation {
  /** Slots that still have their old key, in the order in which they get a new one. */
  readonly remaining: readonly Slot[];
  readonly why: "schedule" | "command";
  /** Unix milliseconds. */
  readonly startedAtMs: number;
}

/** Host encryption was taken back because the control plane could not be reached. */
export interface HostRevert {
  /** Unix milliseconds. */
  readonly atMs: number;
  readonly reason: string;
  /** True if that did no good: it was not the cause, and returns once the control plane answers. */
  readonly untilAnswer?: true;
}

/** A claim that has passed from a peer without a session to the one that is there now (plan/peers/lapses.ts). */
export interface ClaimLapse {
  readonly owner: string;
  readonly claimant: string;
  /** A prefix. */
  readonly claim: string;
}

/** A record that was not taken: a file of the watched directory, or an object of the Kubernetes API. */
export interface RejectedRecord {
  /** Its name there: "node-2.json", "wireguardnode/node-2". */
  readonly file: string;
  readonly reason: string;
}

/** The state that the kernel was last programmed to, and which kernel and namespace that was. */
export interface AppliedState {
  readonly generation: number;
  readonly bootId: string;
  /** Absent if the kernel has no SO_NETNS_COOKIE. */
  readonly netnsCookie?: string;
  /** MTUs by what they were given to (a device, a family). */
  readonly mtu?: Readonly<Record<string, number>>;
  /** Objects that the kernel refused because it has no such thing, by kind, and why. */
  readonly unsupported?: Readonly<Record<string, string>>;
  /** Families that have routing rules; absent: both. Without rules a table of ours may be the main one. */
  readonly routing?: readonly (4 | 6)[];
  /** Families that are not programmed: in strict mode no pod that has one of them can start. */
  readonly unmet?: readonly (4 | 6)[];
}

/** CNI's name of one attachment: a network, a container, an interface in it. */
export interface Owner {
  readonly network: string;
  readonly containerID: string;
  readonly ifname: string;
}

/** One interface of one container that we had a hand in. */
export interface Attachment extends Owner {
  readonly netns: string;
  readonly role: "chained" | "standalone";
  /** The host's end of a veth pair that we made. */
  readonly hostDev?: string;
  /** Canonical addresses of the pod, without length. */
  readonly ips: readonly string[];
  /** The values in the pod from before they were changed, for the verb that restores them (plan/pods/mtu.ts). */
  readonly restore: JsonValue;
  /** Type of the IPAM plugin that was delegated to. */
  readonly ipam?: string;
  readonly createdAtMs: number;
}

/** An address taken from a range set of the embedded IPAM. */
export interface Lease {
  readonly owner: Owner;
  readonly ip: string;
  /** Index of the range set in the network's configuration. */
  readonly rangeSet: number;
}

/** A sysctl of the host that we changed. */
export interface SavedSysctl {
  readonly path: string;
  /** The value that it had before we first changed it. */
  readonly before: string;
}
