import type { Family } from "../net/ip.ts";
import type { PeerPath } from "../net/path.ts";
import type { NodeRecord } from "../net/record.ts";
import type { HostEncryptionReport } from "../plan/host/host-encryption.ts";
import type { Capabilities, UnsupportedObjects } from "../plan/mesh/capabilities.ts";
import type { Conflict } from "../plan/mesh/conflicts.ts";
import type { MeshFacts } from "../plan/mesh/desired.ts";
import type { DesiredMeshCache } from "../plan/mesh/desired-cache.ts";
import type { Mesh } from "../plan/mesh/model.ts";
import type { DerivedMtu } from "../plan/mesh/mtu.ts";
import type { CidrRefusal } from "../plan/peers/cluster-cidrs.ts";
import type { Ownership } from "../plan/peers/model.ts";
import type { ReplacedEndpoints } from "../plan/peers/replaced-endpoints.ts";
import type { Settings } from "../plan/settings/settings.ts";
import type { Step } from "../plan/step.ts";
import type { Store } from "../state/store.ts";
import type { ApplyContext, Failure } from "./apply.ts";
import type { Kernel } from "./kernel.ts";
import type { RouteLookupCache } from "./mtu.ts";
import type { NodeReader, SlotFaults } from "./node-reader.ts";
import type { DeviceReading } from "./observe.ts";
import type { KeyRecovery } from "./recover-keys.ts";

// A plan of the mesh and what a sync goes by and returns, as plain values.

/** The facts that a plan is made from, and its consequences outside the kernel. */
export interface MeshState {
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly up: boolean;
  readonly generation: number;
  /** True if this kernel was programmed by us, to whatever generation. */
  readonly appliedToThisKernel: boolean;
  readonly ownership: Ownership;
  /** Cluster CIDRs of the settings that are left out, since they hold what is no pod's. */
  readonly refusedCIDRs: readonly CidrRefusal[];
  /** Absent if no agent decides. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  readonly mtu: DerivedMtu;
  readonly linkKind: "wireguard" | "tun";
  readonly capabilities: Capabilities;
  readonly unsupported: UnsupportedObjects;
  /** A sentence for each thing that the mesh would use and this host cannot have. */
  readonly missingCapabilities: readonly string[];
  /** Slots of this node that cannot be used. */
  readonly faults: SlotFaults;
  readonly hostEncryption: HostEncryptionReport;
  /** Addresses of other nodes that this node itself is to reach through the tunnel. */
  readonly tunneledHosts: ReadonlySet<string>;
}

export interface MeshPlan extends MeshState {
  /** Addresses of the pods of this node, as the store had them when the plan was made. */
  readonly podIPs: readonly string[];
  /** The desired mesh is made from these. */
  readonly facts: MeshFacts;
  readonly desired: Mesh;
  readonly observed: Mesh;
  readonly steps: readonly Step[];
  /** The steps from what is observed to what the caller had programmed before: others have changed that since. */
  readonly damage: readonly Step[];
}

/** Returns the plan of a sync that has carried out `first` and then planned the rest. */
export function continuePlan(first: MeshPlan, rest: MeshPlan): MeshPlan {
  return { ...rest, steps: [...first.steps, ...rest.steps], damage: [...first.damage, ...rest.damage] };
}

/** True if our nftables tables are there as they should be, so that strict mode drops plaintext. */
export function hasWholeFirewall({ observed, steps }: MeshPlan): boolean {
  return observed.firewall.length > 0 && !steps.some((step) => step.do === "applyFirewall");
}

/**
 * The steps without which the mesh is not as it should be. An idle peer keeps the endpoint that it has roamed to until
 * its session is over; the next resync sets the record's again, and nothing is lost meanwhile.
 */
export function dueSteps(plan: MeshPlan): Step[] {
  return plan.steps.filter((step) => !isReturnOfRoamed(step, plan));
}

/** True if the step does nothing but set the endpoints of peers that may roam. */
function isReturnOfRoamed(step: Step, { desired, observed }: MeshPlan): boolean {
  if (step.do !== "configureDevice") return false;
  const { peers = [], ...device } = step.config;
  const wanted = desired.devices.get(step.dev)?.peers;
  const seen = observed.devices.get(step.dev)?.peers;
  return (
    Object.keys(device).length === 0 &&
    peers.every(({ publicKey, endpoint: _, ...rest }) => {
      const hasRoamed =
        wanted?.get(publicKey)?.mayRoam === true && seen?.get(publicKey)?.endpoint !== undefined;
      return hasRoamed && Object.keys(rest).length === 0;
    })
  );
}

export interface SyncReport extends MeshPlan {
  /** The failures, without those of objects that this host cannot have. */
  readonly failures: readonly Failure[];
  /** The failures of these that concern more than the traffic to one peer. */
  readonly blocking: readonly Failure[];
  /** Families that are not programmed, or that strict mode cannot close. */
  readonly unmet: readonly Family[];
  /** Present if the seal key was absent and keys were saved or exchanged. */
  readonly recovery?: KeyRecovery;
  /** The names and ports of ours that other programs use, at the first sync of a boot. They stop nothing. */
  readonly conflicts: readonly Conflict[];
  /** The requests that have changed something. */
  readonly writes: number;
}

export interface SyncOptions extends ApplyContext {
  readonly bootId: string;
  readonly nowMs: number;
  /** The mesh that the caller has programmed before; absent if it does not know. */
  readonly programmed?: Mesh;
  /** False if slots whose device could not be made are left as they are, and not tried again. */
  readonly retriesSlots?: boolean;
  /** The endpoints that another process has replaced; absent if there are none. */
  readonly replacedEndpoints?: ReplacedEndpoints;
  /** Done before a plan changes the table that counts plaintext. */
  readonly keepPlaintext?: (plan: MeshPlan) => unknown;
  /** Done before anything is planned: keys that the store cannot open may be had otherwise. */
  readonly recoverKeys?: () => KeyRecovery | undefined;
  /** The devices, if the caller has just read them. */
  readonly reading?: DeviceReading;
  /** It is called when much memory is needed no longer. */
  readonly relieve?: () => void;
  /** Tries again what the kernel has refused for good. */
  readonly reexamine?: boolean;
}

/** All that a sync takes from the outside. */
export interface SyncContext {
  readonly store: Store;
  readonly nodes: NodeReader;
  readonly kernel: Kernel;
  readonly peerRoutes: RouteLookupCache;
  readonly arrivalRoutes: RouteLookupCache;
  readonly desiredMeshes: DesiredMeshCache;
}
