// Brings the kernel's mesh to what the store says: observe, diff, apply, and
// note which generation was programmed. One process at a time by a file lock;
// whoever waited finds it done. The kernel is read before the store, so what
// another process commits meanwhile is never taken for something to remove.

import { withFileLock } from "../linux/lock.ts";
import { netnsCookie } from "../linux/netns.ts";
import type { Family } from "../net/ip.ts";
import type { PeerPath } from "../net/path.ts";
import type { NodeRecord } from "../net/record.ts";
import {
  type Capabilities,
  findOpenFamilies,
  hasTable,
  type Lacking,
  withoutLacking,
} from "../plan/capabilities.ts";
import type { Ownership } from "../plan/claims.ts";
import type { CidrRefusal } from "../plan/cluster-cidrs.ts";
import type { Conflict } from "../plan/conflicts.ts";
import { diffMesh } from "../plan/diff.ts";
import { releaseValidMarks } from "../plan/host-changes.ts";
import { describeHostEncryption, type HostEncryptionReport } from "../plan/host-encryption.ts";
import { desiredMesh, emptyMesh, type Mesh, type MeshFacts, tunneledHosts } from "../plan/mesh.ts";
import { type DerivedMtu, usesIpv6 } from "../plan/mtu.ts";
import { slots } from "../plan/path.ts";
import { reservedPortsSysctl } from "../plan/reserved-ports.ts";
import { type Settings, slotDevice } from "../plan/settings.ts";
import type { Step } from "../plan/step.ts";
import type { Store } from "../state/store.ts";
import { type ApplyContext, applySteps, type Failure, readSysctl } from "./apply.ts";
import { observeStrictArrivals } from "./arrivals.ts";
import { observeCapabilities } from "./capabilities.ts";
import type { Kernel } from "./kernel.ts";
import { judgeOwnCIDRs } from "./landmarks.ts";
import { type KnownWays, observeMtu } from "./mtu.ts";
import { type NodeReader, readSettings, type SlotFaults } from "./node.ts";
import { hasConntrack, observeMesh, observeRules, readSysctls } from "./observe.ts";
import { judgeFailures } from "./outcome.ts";
import { programMesh } from "./program.ts";
import { isHere, isProgrammed } from "./programmed.ts";
import type { KeyRecovery } from "./recover-keys.ts";
import { areAllFaulty, describeLost, keepFaults, noFaults, observeSlots } from "./slots.ts";
import { restoreSysctls } from "./sysctls.ts";
import { observeUplinks } from "./uplinks.ts";

/** Longer than any sync: 5,000 peers under emulation take 10 s; a runtime gives an ADD two minutes. */
const lockTimeoutMs = 60_000;

/** A node that was never brought up has no mesh. */
export class NotUpError extends Error {
  override readonly name = "NotUpError";
}

/** What a plan goes by, and what follows from it for others than the kernel. */
export interface MeshState {
  readonly settings: Settings;
  readonly node: NodeRecord;
  readonly up: boolean;
  readonly generation: number;
  /** True where this kernel was programmed by us, to whatever generation. */
  readonly here: boolean;
  /** True where the kernel was already programmed to this generation. */
  readonly programmed: boolean;
  readonly ownership: Ownership;
  /** Cluster CIDRs of the settings that are left out, since they hold what is no pod's. */
  readonly refusedCIDRs: readonly CidrRefusal[];
  /** Absent where no agent decides. */
  readonly paths?: ReadonlyMap<string, PeerPath>;
  readonly mtu: DerivedMtu;
  readonly linkKind: "wireguard" | "tun";
  readonly capabilities: Capabilities;
  readonly lacking: Lacking;
  /** What this host cannot have of what the mesh would use: a sentence each. */
  readonly lacks: readonly string[];
  /** Slots of this node that cannot be used. */
  readonly faults: SlotFaults;
  readonly hostEncryption: HostEncryptionReport;
  /** Addresses of other nodes that this node itself is to reach through the tunnel. */
  readonly tunneledHosts: ReadonlySet<string>;
}

export interface MeshPlan extends MeshState {
  readonly desired: Mesh;
  readonly observed: Mesh;
  readonly steps: readonly Step[];
}

export interface SyncReport extends MeshPlan {
  /** What failed, but for what this host cannot have. */
  readonly failures: readonly Failure[];
  /** Of these, what more than the traffic to one peer waits for. */
  readonly blocking: readonly Failure[];
  /** Families that are not programmed, or that strict mode cannot close. */
  readonly unmet: readonly Family[];
  /** Present if the seal key was absent and keys were saved or exchanged. */
  readonly recovery?: KeyRecovery;
  /** At the first sync of a boot: what others use of ours. It stands in nobody's way. */
  readonly conflicts: readonly Conflict[];
  /** State-changing requests sent to the kernel. */
  readonly writes: number;
}

export interface SyncOptions extends ApplyContext {
  readonly bootId: string;
  readonly nowMs: number;
  /** False where slots whose device could not be made are left as they are, and not tried again. */
  readonly retriesSlots?: boolean;
  /** Done before anything is planned: keys that the store cannot open may be had otherwise. */
  readonly recoverKeys?: () => KeyRecovery | undefined;
  /** Called where much of what was made is needed no longer. */
  readonly relieve?: () => void;
  /** Tries again what the kernel has refused for good. */
  readonly reexamine?: boolean;
}

/** What a sync looks at. */
export interface SyncScene {
  readonly store: Store;
  readonly nodes: NodeReader;
  readonly kernel: Kernel;
  readonly ways: KnownWays;
  readonly arrivals: KnownWays;
}

/** What a sync would do now; writes nothing. Throws NotUpError where there is no identity. */
export function planMesh(
  { store, nodes, kernel, ways, arrivals }: SyncScene,
  { bootId, nowMs, relieve, reexamine }: SyncOptions,
  failed: SlotFaults = noFaults,
): MeshPlan {
  const rules = observeRules(kernel);
  const seen = observeMesh(readSettings(store), kernel, rules);
  relieve?.();
  const before = nodes.read();
  if (before.record === undefined)
    throw new NotUpError(
      "This node has no identity yet: run `wg-cni up --node NAME --endpoint IP --pod-cidr CIDR` first.",
    );
  const here = isHere(before.programmed, bootId);
  const { faults, observed } = observeSlots(before, seen, here, failed);
  const state = nodes.read(faults);
  const { settings, record: node = before.record, up, generation, ownership } = state;
  const clusterCIDRs = judgeOwnCIDRs(settings, node, ownership, state.landmarks);
  const mtu = observeMtu(settings, node, ownership.peers, state.podIPs, kernel, ways);
  const linkKind = chooseLinkKind(settings, observed, kernel);
  const hasFirewall = kernel.firewall !== undefined;
  const programmed = isProgrammed(state.programmed, generation, bootId);
  const known = here ? (state.programmed?.generation ?? -1) : -1;
  const { hostRevert: revert } = state;
  const hostEncryption = describeHostEncryption({
    ...{ settings, hasFirewall, gated: state.paths !== undefined },
    ...(revert === undefined ? {} : { revert }),
  });
  const links = [...observed.links.keys()].map((name) => ({ name }));
  const capabilities = observeCapabilities(settings, links, rules, mtu.bytes);
  const lacking = (here && !reexamine ? state.programmed?.lacking : undefined) ?? {};
  const reservedPorts = readSysctl(reservedPortsSysctl);
  const facts: MeshFacts = {
    ...{ node, ownership, podIPs: state.podIPs, linkKind, mtu: mtu.bytes, hasFirewall },
    settings: { ...settings, clusterCIDRs: clusterCIDRs.kept },
    capabilities,
    strictArrivals: up && hasFirewall ? findArrivals(settings, ownership, kernel, arrivals) : [],
    ...(state.paths === undefined ? {} : { paths: state.paths }),
    changedPeers: new Set([...state.changedAt].flatMap(([name, at]) => (at > known ? [name] : []))),
    hostEncryption: hostEncryption.state === "on",
    hasConntrack: hasConntrack(),
    ...(reservedPorts === undefined ? {} : { reservedPorts }),
    uplinks: hasFirewall ? observeUplinks(settings, node, ownership.peers, kernel, ways) : [],
  };
  const desired = up ? withoutLacking(desiredMesh(facts), lacking) : emptyMesh;
  const slotOf = new Map(slots.map((slot) => [slotDevice(settings, slot), slot] as const));
  // Once a `down` is complete, what has our names is somebody else's.
  const gone = !up && state.programmed === undefined;
  const withSysctls = { ...observed, sysctls: readSysctls([...desired.sysctls.keys()]) };
  const released = up ? releaseValidMarks(store.savedSysctls(), desired.sysctls) : [];
  const changes = diffMesh(desired, withSysctls, { slotOf, nowMs, ownIPs: node.nodeIPs });
  const steps = gone ? [] : [...changes, ...released];
  return {
    ...{ settings, node, up, generation, programmed, ownership, desired, observed, steps, mtu, linkKind },
    ...{ capabilities, lacking, lacks: describeLacks(capabilities, lacking, facts), here, faults },
    refusedCIDRs: clusterCIDRs.refusals,
    ...{ hostEncryption, tunneledHosts: up ? tunneledHosts(facts) : new Set<string>() },
    ...(state.paths === undefined ? {} : { paths: state.paths }),
  };
}

/** Makes the kernel as the store says, and notes it. Failures of single steps are returned, not thrown. */
export function syncMesh(scene: SyncScene, options: SyncOptions): SyncReport {
  const { store, kernel } = scene;
  return withFileLock(`${store.folder}/sync.lock`, lockTimeoutMs, () => {
    const writesBefore = kernel.writes;
    const recovery = options.recoverKeys?.();
    const {
      plan,
      failures: tried,
      conflicts,
    } = programMesh((failed) => planMesh(scene, options, failed), scene, options);
    const lost = plan.up && areAllFaulty(plan.faults);
    // A node that is running and loses both keeps its record: its peers go on to encrypt, and wait.
    const known = plan.up && !(lost && plan.here) ? keepFaults(store, plan.faults) : undefined;
    // Where nobody else has changed anything meanwhile, the kernel is as of the generation that this has made.
    const generation = known === plan.generation + 1 ? known : plan.generation;
    const outcome = judgeFailures([...tried, ...(lost ? describeLost(plan) : [])], (steps) =>
      applySteps(steps, kernel, options),
    );
    const lacking = { ...plan.lacking, ...outcome.lacking };
    const unmet = [...new Set([...outcome.unmet, ...openFamilies(plan, lacking, kernel)])];
    const report = {
      ...{ ...plan, generation, conflicts, lacking, unmet },
      ...(recovery === undefined ? {} : { recovery }),
    };
    const isDone = plan.up ? !outcome.isWhole : outcome.failures.length === 0;
    if (isDone) {
      // Before it is noted that nothing is left to do: a `down` that is killed here is finished by the next sync.
      if (!plan.up) restoreSysctls(store, kernel);
      noteProgrammed(store, report, options.bootId);
    } else if (plan.up && !plan.here && !lost)
      // Not done, but begun: what has our names from here on is ours.
      noteProgrammed(store, { ...report, generation: -1 }, options.bootId);
    const lacks = [...plan.lacks, ...Object.values(outcome.lacking)];
    const { failures, blocking } = outcome;
    return { ...report, lacks, failures, blocking, writes: kernel.writes - writesBefore };
  });
}

/** In mode off nothing is led into the tunnel, so nothing has to be marked. */
function findArrivals(
  settings: Settings,
  { peers }: Ownership,
  kernel: Kernel,
  known: KnownWays,
): readonly string[] {
  return settings.mode === "off" ? [] : observeStrictArrivals(settings, peers, kernel, known);
}

/** Only what the mesh would use: a node without anything of IPv6 lacks none. */
function describeLacks(
  { lacks }: Capabilities,
  lacking: Lacking,
  { node, ownership: { peers }, podIPs }: MeshFacts,
): string[] {
  const isUsed = (family: Family) => family === 4 || usesIpv6({ node, peers, podIPs });
  const families = lacks.filter(({ family }) => isUsed(family)).map(({ why }) => why);
  return [...families, ...Object.values(lacking)];
}

function openFamilies({ settings, capabilities, up }: MeshPlan, lacking: Lacking, kernel: Kernel): Family[] {
  if (!up || settings.mode !== "strict") return [];
  return findOpenFamilies(capabilities, kernel.firewall !== undefined && hasTable(lacking));
}

/** The store writes only where this says something new, so a sync with nothing to do writes nothing there either. */
function noteProgrammed(
  store: Store,
  {
    settings,
    generation,
    mtu,
    up,
    lacking,
    unmet,
    capabilities: { routing },
  }: Pick<SyncReport, "settings" | "generation" | "mtu" | "up" | "lacking" | "unmet" | "capabilities">,
  bootId: string,
): void {
  const cookie = netnsCookie();
  const programmed = {
    generation,
    bootId,
    ...(cookie === undefined ? {} : { netnsCookie: cookie }),
    mtu: { [settings.deviceA]: mtu.bytes, [settings.deviceB]: mtu.bytes },
    ...(Object.keys(lacking).length === 0 ? {} : { lacking }),
    ...(unmet.length === 0 ? {} : { unmet }),
    ...(routing.length === 2 ? {} : { routing }),
  };
  store.setProgrammed(up ? programmed : undefined);
}

function chooseLinkKind(settings: Settings, { links }: Mesh, kernel: Kernel): "wireguard" | "tun" {
  if (settings.backend !== "auto") return settings.backend === "kernel" ? "wireguard" : "tun";
  const there = links.values().next().value?.kind;
  if (there === "wireguard" || there === "tun") return there;
  return kernel.hasKernelWireGuard() ? "wireguard" : "tun";
}
