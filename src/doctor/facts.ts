// The checks depend only on these facts, which are read once. They are plain values
// without access to the kernel or the store.

import type { FileStatus, Space } from "../linux/file.ts";
import type { Address } from "../net/objects.ts";
import type { MarkRule } from "../netlink/nft/marks.ts";
import type { NoTransport, Transport } from "../plan/host/endpoints.ts";
import type { RotationState } from "../plan/keys/rotation.ts";
import type { DerivedMtu } from "../plan/mesh/mtu.ts";
import type { LocalPods } from "../plan/pods/local-pods.ts";
import type { AgentStatus } from "../plan/report/agent-status.ts";
import type { InterfaceArrivals } from "../plan/report/arrivals.ts";
import type { PeerStatus } from "../plan/report/peer-status.ts";
import type { RefusedPackets } from "../plan/report/refused-sources.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { MeshPlan } from "../reconcile/mesh-plan.ts";
import type { Identity, RejectedRecord, Rotation } from "../state/model.ts";
import type { BypassRule } from "./bypass-rules.ts";

export interface Facts {
  /** Unix milliseconds. */
  readonly nowMs: number;
  readonly files: FileFacts;
  /** Absent if there is no store, or it cannot be read. */
  readonly node?: NodeFacts;
  /** Absent if the node has no identity, or the kernel did not answer. */
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
  /** Settings that were set explicitly, without the defaults. */
  readonly overrides: Readonly<Record<string, unknown>>;
  readonly identity?: Identity;
  /** The devices that are there although the node has no identity. */
  readonly devicesWithoutIdentity: readonly string[];
  /** True if the identity was made on another machine. */
  readonly isOfOtherMachine: boolean;
  /** Why this node's private keys cannot be opened. */
  readonly sealFault?: string;
  /** True if an agent has decided how peers are reached. */
  readonly gated: boolean;
  readonly agent: AgentStatus;
  readonly rotation?: RotationState & Partial<Rotation>;
  readonly rejectedRecords: readonly RejectedRecord[];
}

/** The kernel as it is, and as it should be. */
export interface KernelFacts {
  readonly plan: MeshPlan;
  readonly peers: readonly PeerStatus[];
  readonly arrivals: readonly InterfaceArrivals[];
  readonly refused: RefusedPackets;
  readonly hasKernelWireGuard: boolean;
  /** Path of a userspace WireGuard that is installed. */
  readonly userspaceProgram?: string;
  readonly hasFirewall: boolean;
  /** Our rules, tables and marks that other programs use: a sentence each. Names and ports of devices are among the faults. */
  readonly conflicts: readonly string[];
  /** Why slots of this node cannot be used: a sentence each. */
  readonly faults: readonly string[];
  readonly bypassRules: readonly BypassRule[];
  /** nftables rules of other programs that set bits of our mark. */
  readonly markRules: readonly MarkRule[];
  /** The MTU that would be used if it were not set by hand. */
  readonly derivedMtu: DerivedMtu;
  readonly pods: readonly PodMtu[];
  /** The pods of this node, compared with its record. */
  readonly localPods: LocalPods;
  readonly podLinks: PodLinks;
  readonly addresses: readonly Address[];
  readonly transport: Transport | NoTransport;
  readonly uplinks: readonly UplinkFilter[];
  /** The paths of sysctls by which packets of this node's pods are not forwarded. */
  readonly forwardingOff: readonly string[];
}

/** The largest packet that a pod on this node sends to other nodes. */
export interface PodMtu {
  /** "eth0 of container 0123456789ab". */
  readonly pod: string;
  readonly bytes: number;
  /** True if the network configuration sets it. */
  readonly byConfiguration: boolean;
}

/** The state of the links to pods, and what the node accepts by them. */
export interface PodLinks {
  /** Pods that wg-cni is the main plugin of. */
  readonly standalone: number;
  /** True if there is the table that checks the source addresses of these pods. */
  readonly isGuarded: boolean;
  /** Packets that pods sent with a source address that is not theirs. */
  readonly forged: number;
  /** Links of another plugin by which the node accepts routes from pods: "cni0: router advertisements". */
  readonly open: readonly string[];
}

/** An interface towards other nodes, and its reverse-path filter: 0 off, 1 strict, 2 loose. */
export interface UplinkFilter {
  readonly dev: string;
  readonly mode: number;
  /** True if the filter goes by a packet's mark (src_valid_mark). */
  readonly validMark: boolean;
}
