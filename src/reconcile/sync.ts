// Makes the kernel's mesh as the store says: observe, diff, apply, and
// note which generation was programmed. One process at a time by a file lock;
// a process that waited finds it done. The kernel is read before the store, so what
// another process commits meanwhile is never taken for something to remove.

import { withFileLock } from "../linux/lock.ts";
import { netnsCookie } from "../linux/netns.ts";
import type { Family } from "../net/ip.ts";
import { releaseValidMarks } from "../plan/host/host-changes.ts";
import { describeHostEncryption } from "../plan/host/host-encryption.ts";
import { reservedPortsSysctl } from "../plan/host/reserved-ports.ts";
import {
  type Capabilities,
  findOpenFamilies,
  hasTable,
  type UnsupportedObjects,
  withoutUnsupported,
} from "../plan/mesh/capabilities.ts";
import { diffDamage } from "../plan/mesh/damage.ts";
import { type MeshFacts, tunneledHosts } from "../plan/mesh/desired.ts";
import { diffMesh } from "../plan/mesh/diff.ts";
import { emptyMesh, type Mesh } from "../plan/mesh/model.ts";
import { usesIpv6 } from "../plan/mesh/mtu.ts";
import type { Ownership } from "../plan/peers/model.ts";
import { slots } from "../plan/peers/path.ts";
import { noneReplaced } from "../plan/peers/replaced-endpoints.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Store } from "../state/store.ts";
import { appliedToThisKernel } from "./applied.ts";
import { applySteps, readSysctl } from "./apply.ts";
import { observeStrictArrivals } from "./arrivals.ts";
import { observeCapabilities } from "./capabilities.ts";
import type { Kernel } from "./kernel.ts";
import { judgeOwnCIDRs } from "./landmarks.ts";
import type { MeshPlan, SyncContext, SyncOptions, SyncReport } from "./mesh-plan.ts";
import { observeMtu, type RouteLookupCache } from "./mtu.ts";
import { readSettings, type SlotFaults } from "./node-reader.ts";
import { hasConntrack, identifyTables, observeMesh, observeRules, readSysctls } from "./observe.ts";
import { judgeFailures } from "./outcome.ts";
import { programMesh } from "./program.ts";
import { takeBackRoutes } from "./removal.ts";
import { areAllFaulty, describeLost, keepFaults, noFaults, observeSlots } from "./slots.ts";
import { restoreSysctls } from "./sysctls.ts";
import { observeUplinks } from "./uplinks.ts";

/** Longer than any sync: 5,000 peers under emulation take 10 s; a runtime gives an ADD two minutes. */
export const lockTimeoutMs = 60_000;

/** A node that was never brought up has no mesh. */
export class NotUpError extends Error {
  override readonly name = "NotUpError";
}

/** Plans what a sync would do now; writes nothing. Throws NotUpError if there is no identity. */
export function planMesh(
  { store, nodes, kernel, peerRoutes, arrivalRoutes, desiredMeshes }: SyncContext,
  { bootId, nowMs, relieve, reexamine, reading, programmed, replacedEndpoints }: SyncOptions,
  failed: SlotFaults = noFaults,
): MeshPlan {
  const rules = observeRules(kernel);
  const seen = observeMesh(readSettings(store), kernel, rules, reading);
  relieve?.();
  const before = nodes.read();
  if (before.record === undefined)
    throw new NotUpError(
      "This node has no identity yet: run `wg-cni up --node NAME --endpoint IP --pod-cidr CIDR` first; in Kubernetes, wait for the agent, which takes it from the Node object.",
    );
  const here = appliedToThisKernel(before.applied, bootId);
  const { faults, observed } = observeSlots(before, seen, here, failed);
  const state = nodes.read({ faults, isRunning: here });
  const { settings, record: node = before.record, up, generation, ownership } = state;
  const clusterCIDRs = judgeOwnCIDRs(settings, node, ownership, state.landmarks);
  const mtu = observeMtu(settings, node, ownership.peers, state.podIPs, kernel, peerRoutes);
  const linkKind = chooseLinkKind(settings, observed, kernel);
  const hasFirewall = kernel.firewall !== undefined;
  const known = here ? (state.applied?.generation ?? -1) : -1;
  const { hostRevert: revert } = state;
  const hostEncryption = describeHostEncryption({
    ...{ settings, hasFirewall, gated: state.paths !== undefined },
    ...(revert === undefined ? {} : { revert }),
  });
  const links = [...observed.links.keys()].map((name) => ({ name }));
  const capabilities = observeCapabilities(settings, links, rules, mtu.bytes);
  const unsupported = (here && !reexamine ? state.applied?.unsupported : undefined) ?? {};
  const reservedPorts = readSysctl(reservedPortsSysctl);
  const facts: MeshFacts = {
    ...{ node, ownership, podIPs: state.podIPs, linkKind, mtu: mtu.bytes, hasFirewall },
    settings: { ...settings, clusterCIDRs: clusterCIDRs.kept },
    capabilities,
    strictArrivals: up && hasFirewall ? findArrivals(settings, ownership, kernel, arrivalRoutes) : [],
    ...(state.paths === undefined ? {} : { paths: state.paths }),
    changedPeers: peersSince(state.changedAt, known),
    ...(replacedEndpoints === undefined ? {} : { replacedEndpoints }),
    hostEncryption: hostEncryption.state === "on",
    hasConntrack: hasConntrack(),
    ...(reservedPorts === undefined ? {} : { reservedPorts }),
    uplinks: hasFirewall ? observeUplinks(settings, node, ownership.peers, kernel, peerRoutes) : [],
  };
  const desired = up ? withoutUnsupported(desiredMeshes.make(facts), unsupported) : emptyMesh;
  // Once a `down` is complete, objects with our names belong to another program.
  const isGone = !up && state.applied === undefined;
  const changes = isGone
    ? noChanges
    : planChanges({ facts, desired, observed, up, nowMs, programmed }, store);
  identifyTables(kernel, { desired, observed, ...changes });
  return {
    ...{ settings, node, up, generation, ownership, podIPs: state.podIPs, facts, desired, observed, mtu },
    ...changes,
    ...{ linkKind, capabilities, unsupported, faults, appliedToThisKernel: here },
    missingCapabilities: describeMissing(capabilities, unsupported, facts),
    refusedCIDRs: clusterCIDRs.refusals,
    ...{ hostEncryption, tunneledHosts: up ? tunneledHosts(facts) : new Set<string>() },
    ...(state.paths === undefined ? {} : { paths: state.paths }),
  };
}

/** Names of the peers whose record has changed since a generation. */
function peersSince(changedAt: ReadonlyMap<string, number>, generation: number): ReadonlySet<string> {
  const names = new Set<string>();
  for (const [name, at] of changedAt) if (at > generation) names.add(name);
  return names;
}

interface Planning {
  readonly facts: MeshFacts;
  readonly desired: Mesh;
  readonly observed: Mesh;
  readonly up: boolean;
  readonly nowMs: number;
  readonly programmed: Mesh | undefined;
}

type Changes = Pick<MeshPlan, "steps" | "damage">;

const noChanges: Changes = { steps: [], damage: [] };

function planChanges({ facts, desired, observed, up, nowMs, programmed }: Planning, store: Store): Changes {
  const { settings, node, replacedEndpoints = noneReplaced } = facts;
  const slotOf = new Map(slots.map((slot) => [slotDevice(settings, slot), slot] as const));
  const withSysctls = { ...observed, sysctls: readSysctls([...desired.sysctls.keys()]) };
  const released = up ? releaseValidMarks(store.savedSysctls(), desired.sysctls) : [];
  const options = { slotOf, nowMs, ownIPs: node.nodeIPs };
  const steps = [...diffMesh(desired, withSysctls, options), ...released];
  const isAsked = programmed !== undefined && steps.length > 0;
  const damage = isAsked ? diffDamage(steps, programmed, withSysctls, replacedEndpoints, options) : [];
  return { steps, damage };
}

/** Makes the kernel as the store says, and records it. Failures of single steps are returned, not thrown. */
export function syncMesh(scene: SyncContext, options: SyncOptions): SyncReport {
  const { store, kernel } = scene;
  return withFileLock(`${store.directory}/sync.lock`, lockTimeoutMs, () => {
    const writesBefore = kernel.writes;
    const recovery = options.recoverKeys?.();
    const {
      plan,
      failures: tried,
      conflicts,
    } = programMesh((failed) => planMesh(scene, options, failed), scene, options);
    takeBackRoutes(plan, store, kernel);
    const lost = plan.up && areAllFaulty(plan.faults);
    // A node that is running and loses both keeps its record: its peers go on to encrypt, and wait.
    const known = plan.up && !(lost && plan.appliedToThisKernel) ? keepFaults(store, plan.faults) : undefined;
    // If no other process has changed anything meanwhile, the kernel is as of the generation that this sync has made.
    const generation = known === plan.generation + 1 ? known : plan.generation;
    const outcome = judgeFailures([...tried, ...(lost ? describeLost(plan) : [])], (steps) =>
      applySteps(steps, kernel, options),
    );
    const unsupported = { ...plan.unsupported, ...outcome.unsupported };
    const unmet = [...new Set([...outcome.unmet, ...openFamilies(plan, unsupported, kernel)])];
    const report = {
      ...{ ...plan, generation, conflicts, unsupported, unmet },
      ...(recovery === undefined ? {} : { recovery }),
    };
    const isDone = plan.up ? !outcome.isWhole : outcome.failures.length === 0;
    if (isDone) {
      // Before it is noted that nothing is left to do: a `down` that is killed here is finished by the next sync.
      if (!plan.up) restoreSysctls(store, kernel);
      recordApplied(store, report, options.bootId);
    } else if (plan.up && !plan.appliedToThisKernel && !lost)
      // Not done, but begun: what has our names from here on is ours.
      recordApplied(store, { ...report, generation: -1 }, options.bootId);
    const missingCapabilities = [...plan.missingCapabilities, ...Object.values(outcome.unsupported)];
    const { failures, blocking } = outcome;
    return { ...report, missingCapabilities, failures, blocking, writes: kernel.writes - writesBefore };
  });
}

/** In mode off nothing is routed into the tunnel, so nothing has to be marked. */
function findArrivals(
  settings: Settings,
  { peers }: Ownership,
  kernel: Kernel,
  known: RouteLookupCache,
): readonly string[] {
  return settings.mode === "off" ? [] : observeStrictArrivals(settings, peers, kernel, known);
}

/** Only what the mesh would use: a node without anything of IPv6 lacks none. */
function describeMissing(
  { missing }: Capabilities,
  unsupported: UnsupportedObjects,
  { node, ownership: { peers }, podIPs }: MeshFacts,
): string[] {
  const isUsed = (family: Family) => family === 4 || usesIpv6({ node, peers, podIPs });
  const families = missing.filter(({ family }) => isUsed(family)).map(({ why }) => why);
  return [...families, ...Object.values(unsupported)];
}

function openFamilies(
  { settings, capabilities, up }: MeshPlan,
  unsupported: UnsupportedObjects,
  kernel: Kernel,
): Family[] {
  if (!up || settings.mode !== "strict") return [];
  return findOpenFamilies(capabilities, kernel.firewall !== undefined && hasTable(unsupported));
}

/** The store writes only if this says something new, so a sync with nothing to do writes nothing there either. */
function recordApplied(
  store: Store,
  {
    settings,
    generation,
    mtu,
    up,
    unsupported,
    unmet,
    capabilities: { routing },
  }: Pick<SyncReport, "settings" | "generation" | "mtu" | "up" | "unsupported" | "unmet" | "capabilities">,
  bootId: string,
): void {
  const cookie = netnsCookie();
  const applied = {
    generation,
    bootId,
    ...(cookie === undefined ? {} : { netnsCookie: cookie }),
    mtu: { [settings.deviceA]: mtu.bytes, [settings.deviceB]: mtu.bytes },
    ...(Object.keys(unsupported).length === 0 ? {} : { unsupported }),
    ...(unmet.length === 0 ? {} : { unmet }),
    ...(routing.length === 2 ? {} : { routing }),
  };
  store.setApplied(up ? applied : undefined);
}

function chooseLinkKind(settings: Settings, { links }: Mesh, kernel: Kernel): "wireguard" | "tun" {
  if (settings.backend !== "auto") return settings.backend === "kernel" ? "wireguard" : "tun";
  const there = links.values().next().value?.kind;
  if (there === "wireguard" || there === "tun") return there;
  return kernel.hasKernelWireGuard() ? "wireguard" : "tun";
}
