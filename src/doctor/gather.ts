// `gatherFacts` reads everything that the checks depend on, once. It changes nothing: if
// there is no store, it makes none. A read that fails becomes a sentence, and the other
// reads still happen.
import { findStatus, readSpace } from "../linux/file.ts";
import { attempt } from "../net/error.ts";
import { familyOf } from "../net/ip.ts";
import { formatNftTableName } from "../net/nftables-text.ts";
import { type MarkRule, readMarkRules } from "../netlink/nft/marks.ts";
import { findUplinks } from "../netlink/uplinks.ts";
import { deviceForwarding, forwardingSysctl, validMarkSysctl } from "../plan/host/host-changes.ts";
import { describeRotation } from "../plan/keys/rotation.ts";
import { findConflicts } from "../plan/mesh/conflicts.ts";
import { firewallName } from "../plan/mesh/desired.ts";
import { slots } from "../plan/peers/path.ts";
import { judgePods } from "../plan/pods/local-pods.ts";
import type { AgentStatus } from "../plan/report/agent-status.ts";
import { describePeers } from "../plan/report/peer-status.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import { readSysctl } from "../reconcile/apply.ts";
import { observeTransport } from "../reconcile/endpoints.ts";
import type { Kernel } from "../reconcile/kernel.ts";
import { observeBridgedPods, observePods } from "../reconcile/local-pods.ts";
import { hasWholeFirewall } from "../reconcile/mesh-plan.ts";
import { observeMtu } from "../reconcile/mtu.ts";
import { readSettings } from "../reconcile/node-reader.ts";
import { observeHost } from "../reconcile/observe.ts";
import { isOfOtherMachine } from "../reconcile/other-machine.ts";
import { observeOutside } from "../reconcile/outside.ts";
import { Session } from "../reconcile/session.ts";
import { searchPath } from "../reconcile/userspace.ts";
import type { Identity } from "../state/model.ts";
import { findStateFault } from "../state/probe.ts";
import { openPrivateKey, readSealKey, SealError } from "../state/seal.ts";
import { findProgram, implementations } from "../wireguard/start.ts";
import { findBypassRules } from "./bypass-rules.ts";
import type { Facts, FileFacts, KernelFacts, NodeFacts, UplinkFilter } from "./facts.ts";
import { observePodLinks } from "./pod-links.ts";
import { readPodMtus } from "./pod-mtus.ts";
import { explainFault } from "./port-holder.ts";

/**
 * `nowMs`: Unix milliseconds; `agent`: as it has answered. Throws only if not even the filesystem of the
 * state directory can be read.
 */
export function gatherFacts(stateDir: string, nowMs: number, agent: AgentStatus): Facts {
  const files = readFiles(stateDir);
  const failures: string[] = [];
  const tryTo = <T>(read: () => T): T | undefined =>
    attempt(Error, read, ({ message }) => {
      failures.push(message);
      return undefined;
    });
  if (files.database === undefined || files.fault !== undefined) return { nowMs, files, failures };
  using session = tryTo(() => new Session(stateDir, () => nowMs));
  if (session === undefined) return { nowMs, files, failures };
  const node = tryTo(() => readStore(session, agent, nowMs));
  const { identity } = node ?? {};
  const kernel = identity === undefined ? undefined : tryTo(() => readKernel(session, identity, nowMs));
  return {
    ...{ nowMs, files, failures },
    ...(node === undefined ? {} : { node }),
    ...(kernel === undefined ? {} : { kernel }),
  };
}

function readFiles(stateDir: string): FileFacts {
  const directory = findStatus(stateDir);
  const database = findStatus(`${stateDir}/state.db`);
  const fault = database === undefined ? undefined : findStateFault(stateDir)?.message;
  return {
    ...{ stateDir, space: readSpace(nearestDirectory(stateDir)) },
    ...(directory === undefined ? {} : { directory }),
    ...(database === undefined ? {} : { database }),
    ...(fault === undefined ? {} : { fault }),
  };
}

/** The directory, or the first one above it that is there. */
function nearestDirectory(path: string): string {
  if (path === "" || findStatus(path) !== undefined) return path || "/";
  return nearestDirectory(path.slice(0, path.lastIndexOf("/")));
}

function readStore({ store, kernel }: Session, agent: AgentStatus, nowMs: number): NodeFacts {
  const settings = readSettings(store);
  const identity = store.identity();
  const rotation = store.rotation();
  const known = {
    ...{ settings, overrides: store.settings(), gated: store.gated, agent },
    ...{ rejectedRecords: store.rejectedRecords(), devicesWithoutIdentity: [] },
    isOfOtherMachine: false,
  };
  if (identity === undefined) {
    const isThere = (name: string) => kernel.host.hasLinks([name]);
    const devices = slots.map((slot) => slotDevice(settings, slot)).filter(isThere);
    return { ...known, devicesWithoutIdentity: devices };
  }
  const sealFault = findSealFault(settings.sealKeyFile, identity);
  const { name, up, slots: keys } = identity;
  const keyFacts = { name, up, keys, settings, ...(rotation === undefined ? {} : { rotation }) };
  return {
    ...{ ...known, identity, isOfOtherMachine: isOfOtherMachine(identity) },
    ...{ rotation: { ...describeRotation(keyFacts, nowMs), ...rotation } },
    ...(sealFault === undefined ? {} : { sealFault }),
  };
}

/** IPv4 decides by the interface that a packet arrives at; IPv6 for the host as a whole. `devs`: ours, and those of pods. */
function findForwardingOff(pods: readonly string[], devs: readonly string[]): string[] {
  const families = [...new Set(pods.map(familyOf))];
  const isOff = (path: string) => readSysctl(path) === "0";
  const ofHost = families.map((family) => forwardingSysctl[family]).filter(isOff);
  const ofDevs = families.includes(4) ? devs.map((dev) => deviceForwarding(4, dev)) : [];
  return ofHost.includes(forwardingSysctl[4]) ? ofHost : [...ofHost, ...ofDevs.filter(isOff)];
}

function findSealFault(path: string, { name, slots }: Identity): string | undefined {
  const open = () => {
    const key = readSealKey(path);
    for (const { slot, sealedPrivateKey } of slots)
      openPrivateKey(key, { node: name, slot }, sealedPrivateKey);
    return undefined;
  };
  return attempt(SealError, open, ({ message }) => message);
}

function readKernel(session: Session, identity: Identity, nowMs: number): KernelFacts {
  const { store, kernel } = session;
  const plan = session.plan();
  const { settings, node, ownership } = plan;
  const evidence = session.readEvidence(plan, hasWholeFirewall(plan));
  const attachments = store.attachments();
  const podIPs = attachments.flatMap(({ ips }) => ips);
  const podDevs = attachments.flatMap(({ hostDev }) => hostDev ?? []);
  const derivedMtu = observeMtu({ ...settings, mtu: 0 }, node, ownership.peers, podIPs, kernel);
  const program = findProgram(implementations, searchPath());
  const ownKeys = identity.slots.map(({ publicKey }) => publicKey);
  const host = observeHost(settings, kernel, { ownKeys, isApplied: plan.appliedToThisKernel });
  const conflicts = findConflicts(settings, host).flatMap(({ slot, text }) => (slot ? [] : [text]));
  const faults = [...plan.faults].map(([slot, fault]) => explainFault(settings, slot, fault));
  const bypassRules = findBypassRules(settings, {
    rules: host.rules,
    remoteCIDRs: ownership.peers.flatMap(({ podCIDRs }) => podCIDRs),
    routesOf: (filter) => kernel.host.routes(filter),
  });
  const uplinks = new Set([...derivedMtu.uplinks.map(({ dev }) => dev), ...findUplinks(kernel.host)]);
  return {
    ...{ plan, derivedMtu, conflicts, bypassRules, faults, markRules: findMarkRules(settings, kernel) },
    peers: describePeers(plan, nowMs, evidence),
    arrivals: evidence.arrivals.byInterface,
    refused: evidence.refused,
    hasKernelWireGuard: kernel.hasKernelWireGuard(),
    ...(program === undefined ? {} : { userspaceProgram: program }),
    hasFirewall: kernel.firewall !== undefined,
    pods: readPodMtus(store, kernel),
    localPods: judgePods({
      podCIDRs: node.podCIDRs,
      attached: podIPs,
      seen: observePods(settings, kernel),
      bridged: observeBridgedPods(
        kernel,
        ownership.peers.flatMap(({ nodeIPs, endpoints }) => [...nodeIPs, ...endpoints]),
      ),
      outside: observeOutside(settings, store, kernel),
    }),
    podLinks: observePodLinks(settings, store, kernel),
    addresses: kernel.host.addresses(),
    transport: observeTransport(settings, kernel),
    uplinks: [...uplinks].map(readFilter),
    forwardingOff: findForwardingOff(
      [...node.podCIDRs, ...podIPs],
      [...plan.observed.links.keys(), ...podDevs],
    ),
  };
}

function findMarkRules({ fwmark }: Settings, { firewall }: Kernel): MarkRule[] {
  if (firewall === undefined) return [];
  const own = formatNftTableName({ family: "inet", name: firewallName });
  return readMarkRules().filter(({ table, bits }) => table !== own && (bits & fwmark.mask) !== 0);
}

/** The kernel obeys the larger of an interface's value and the one for all (ip-sysctl: rp_filter), and of marks either. */
function readFilter(dev: string): UplinkFilter {
  const modes = ["all", dev].map((name) => Number(readSysctl(`net/ipv4/conf/${name}/rp_filter`) ?? 0));
  const validMark = ["all", dev].some((name) => readSysctl(validMarkSysctl(name)) === "1");
  return { dev, mode: Math.max(...modes), validMark };
}
