// Asks the kernel for the route of a packet to each peer, as a pod of this node would send it: with the
// pod's address, by the pod's interface, without our mark; and for the route of the answer, as it arrives
// from the tunnel. plan/report/reach.ts judges the answers.
import type { Device } from "../net/device.ts";
import { type Family, familyOf } from "../net/ip.ts";
import type { RouteLookup } from "../net/objects.ts";
import type { LookupQuery } from "../netlink/lookup.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { slots } from "../plan/peers/path.ts";
import {
  AllowedIPs,
  judgeReach,
  type KnownDevice,
  type PacketLookup,
  type PeerReach,
  probeAddress,
  tunnelSlot,
} from "../plan/report/reach.ts";
import { type Settings, slotDevice } from "../plan/settings/settings.ts";
import type { Kernel } from "./kernel.ts";
import type { MeshState } from "./mesh-plan.ts";

/** A pod of this node, and the interface by which its packets arrive. */
interface LocalPod {
  readonly src: string;
  readonly dev: string;
}

/**
 * Reach by the peer's name; a peer without pod CIDRs has none. A family that this host cannot have in the tunnel
 * is not asked for: that is reported as a missing capability. Throws NetlinkError, SysError.
 */
export function observeReach(
  { settings, node, ownership: { peers }, capabilities }: MeshState,
  podIPs: readonly string[],
  devices: ReadonlyMap<string, Device>,
  { host }: Kernel,
  hasFirewall: boolean,
): Map<string, PeerReach> {
  const isCarried = (cidr: string) =>
    [capabilities.tunnel, capabilities.routing].every((families) => families.includes(familyOf(cidr)));
  const packets = peers.flatMap((peer) =>
    peer.podCIDRs.filter(isCarried).map((cidr) => ({ peer, dst: probeAddress(cidr) })),
  );
  const found = lookUpPackets(settings, packets, podIPs, host);
  const known = new Map(
    slots.flatMap((slot) => {
      const device = devices.get(slotDevice(settings, slot));
      return device === undefined ? [] : [[device.name, knownDevice(device)] as const];
    }),
  );
  const context = { settings, node, devices: known, hasFirewall };
  const reaches = new Map<string, PeerReach>();
  for (const [peer, lookups] of found) {
    const reach = judgeReach(peer, lookups, context);
    if (reach !== undefined) reaches.set(peer.name, reach);
  }
  return reaches;
}

type Lookups = Map<OwnedPeer, PacketLookup[]>;

/** An address of a peer's pods that packets are asked about. */
interface Probe {
  readonly peer: OwnedPeer;
  readonly dst: string;
}

/** Pods that come and go while they are asked for: then the packets of this node itself must do. */
const maxAttempts = 3;

function lookUpPackets(
  settings: Settings,
  probes: readonly Probe[],
  podIPs: readonly string[],
  host: Kernel["host"],
): Lookups {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const pods = findPods(settings, podIPs, host);
    const found = lookUpFrom(settings, probes, pods, host);
    // A pod that was removed meanwhile has no answers, which says nothing of the peers.
    if (Bun.deepEquals(pods, findPods(settings, podIPs, host))) return found;
  }
  return lookUpFrom(settings, probes, new Map(), host);
}

function lookUpFrom(
  settings: Settings,
  probes: readonly Probe[],
  pods: ReadonlyMap<Family, LocalPod>,
  host: Kernel["host"],
): Lookups {
  const packets = probes.map((probe) => ({ ...probe, pod: pods.get(familyOf(probe.dst)) }));
  const outward = host.lookUpPackets(
    packets.map(({ dst, pod }) => ({ dst, mark: 0, ...(pod === undefined ? {} : { arrival: pod }) })),
  );
  const answers = packets.map(({ dst, pod }, i) => answerTo(settings, outward[i] as RouteLookup, dst, pod));
  const back = host.lookUpPackets(answers.flatMap((query) => query ?? []));
  let next = 0;
  const found: Lookups = new Map();
  for (const [i, { peer }] of packets.entries()) {
    const answer = answers[i] === undefined ? undefined : (back[next++] as RouteLookup);
    const list = found.get(peer) ?? [];
    list.push({ outward: outward[i] as RouteLookup, ...(answer === undefined ? {} : { back: answer }) });
    found.set(peer, list);
  }
  return found;
}

function knownDevice(device: Device): KnownDevice {
  const { publicKey } = device;
  return { allowedIPs: new AllowedIPs(device), ...(publicKey === undefined ? {} : { publicKey }) };
}

/** The way of the answer, if the packet goes into the tunnel and this node has a pod to answer to. */
function answerTo(
  settings: Settings,
  lookup: RouteLookup,
  dst: string,
  pod: LocalPod | undefined,
): LookupQuery | undefined {
  if (pod === undefined || tunnelSlot(settings, lookup) === undefined) return undefined;
  return { dst: pod.src, mark: 0, arrival: { src: dst, dev: lookup.devs[0] as string } };
}

/** One of each family: of the addresses that lead to an interface of this node. */
function findPods(
  { fwmark }: Settings,
  podIPs: readonly string[],
  host: Kernel["host"],
): Map<Family, LocalPod> {
  const pods = new Map<Family, LocalPod>();
  // Past our own tables, as encrypted packets go: those may have the pod behind the tunnel still.
  for (const { dst, type, devs, hasGateway } of host.lookUpRoutes(podIPs, fwmark.mark)) {
    const [dev] = devs;
    // The address of a pod that ended without a DEL is by the default route.
    if (type !== "unicast" || dev === undefined || hasGateway || pods.has(familyOf(dst))) continue;
    pods.set(familyOf(dst), { src: dst, dev });
  }
  return pods;
}
