// The checks depend only on these facts, which are read once. They are plain values
// without access to the kernel or the store.

import type { FileStatus, Space } from "../linux/file.ts";
import type { Address } from "../net/objects.ts";
import type { MarkRule } from "../netlink/nft/marks.ts";
import type { NoTransport, Transport } from "../plan/host/endpoints.ts";
import type { RotationState } from "../plan/keys/rotation.ts";
import type { DerivedMtu } from "../plan/mesh/mtu.ts";
import type { LocalPods } from "../plan/pods/local-pods.ts";
import type { InterfaceArrivals } from "../plan/report/arrivals.ts";
import type { PeerStatus } from "../plan/report/status.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { MeshPlan } from "../reconcile/mesh-plan.ts";
import type { Identity, RejectedRecord, Rotation } from "../state/model.ts";
import type { BypassRule } from "./bypass-rules.ts";

export interface Facts {
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly files: FileFacts;
  /** Absent where there is no store, or it cannot be read. */
  readonly node?: NodeFacts;
  /** Absent where the node has no identity, or the kernel did not answer. */
  readonly kernel?: KernelFacts;
  /** Why something is absent: a sentence each. */
  readonly failures: readonly string[];
}

/** The store from outside. */
export interface FileFacts {
  readonly stateDir: string;
  readonly directory?: FileStatus;
  readonly database?: FileStatus;
  /** Why it could not be used, as far as its header tells. */
  readonly fault?: string;
  /** Of the filesystem that the directory is on, or would be. */
  readonly space: Space;
}

/** The store from inside. */
export interface NodeFacts {
  readonly settings: Settings;
  /** What was set, not defaults. */
  readonly overrides: Readonly<Record<string, unknown>>;
  readonly identity?: Identity;
  /** Why this node's private keys cannot be opened. */
  readonly sealFault?: string;
  /** True where an agent has decided how peers are reached. */
  readonly gated: boolean;
  readonly agentRuns: boolean;
  readonly rotation?: RotationState & Partial<Rotation>;
  readonly rejectedRecords: readonly RejectedRecord[];
}

/** The kernel, beside what it should be. */
export interface KernelFacts {
  readonly plan: MeshPlan;
  readonly peers: readonly PeerStatus[];
  readonly arrivals: readonly InterfaceArrivals[];
  readonly hasKernelWireGuard: boolean;
  /** Path of a userspace WireGuard that is installed. */
  readonly userspaceProgram?: string;
  readonly hasFirewall: boolean;
  /** What others use of ours, beside names and ports of devices: a sentence each. */
  readonly conflicts: readonly string[];
  /** Why slots of this node cannot be used: a sentence each. */
  readonly faults: readonly string[];
  readonly bypassRules: readonly BypassRule[];
  /** Rules of others that set bits of our mark. */
  readonly markRules: readonly MarkRule[];
  /** What the MTU would be if it were not set by hand. */
  readonly derivedMtu: DerivedMtu;
  readonly pods: readonly PodMtu[];
  /** Those of this node beside its record. */
  readonly localPods: LocalPods;
  readonly podLinks: PodLinks;
  readonly addresses: readonly Address[];
  readonly transport: Transport | NoTransport;
  readonly uplinks: readonly UplinkFilter[];
}

/** The largest packet that a pod on this node sends to others. */
export interface PodMtu {
  /** "eth0 of container 0123456789ab". */
  readonly pod: string;
  readonly bytes: number;
  /** True where the network configuration says so. */
  readonly byConfiguration: boolean;
}

/** What the node hears from pods by the links to them. */
export interface PodLinks {
  /** Pods that wg-cni is the main plugin of. */
  readonly standalone: number;
  /** True where the table is there that checks whose address they send by. */
  readonly isGuarded: boolean;
  /** Packets that they sent in the name of others. */
  readonly forged: number;
  /** Links that another plugin made, by which the node learns from pods, and what: "cni0: router advertisements". */
  readonly open: readonly string[];
}

/** An interface towards other nodes, and its reverse-path filter: 0 off, 1 strict, 2 loose. */
export interface UplinkFilter {
  readonly dev: string;
  readonly mode: number;
  /** True if the filter goes by a packet's mark (src_valid_mark). */
  readonly validMark: boolean;
}
