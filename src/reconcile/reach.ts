// Asks the kernel for the route of a packet to each peer, as a pod of this node would send it: with the
// pod's address, by the pod's interface, without our mark; for the route of the answer, as it arrives
// from the tunnel; and for the routes of the encrypted packets, as they leave and as they arrive.
// plan/report/reach.ts judges what the kernel says.
import { Errno } from "../linux/errno.ts";
import type { Device } from "../net/device.ts";
import { type Family, familyOf } from "../net/ip.ts";
import type { RouteLookup } from "../net/objects.ts";
import type { NodeRecord } from "../net/record.ts";
import { specialAddress } from "../net/special.ts";
import { NetlinkError } from "../netlink/error.ts";
import type { LookupQuery } from "../netlink/lookup.ts";
import { marksOf } from "../plan/firewall/marks.ts";
import type { OwnedPeer } from "../plan/peers/model.ts";
import { keyOf, slots } from "../plan/peers/path.ts";
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
  lookUpEncrypted(found, { settings, node, devices, host });
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

type Lookups = Map<OwnedPeer, { -readonly [K in keyof PacketLookup]: PacketLookup[K] }[]>;

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
  for (const [i, { peer, pod }] of packets.entries()) {
    const answer = answers[i] === undefined ? {} : { back: back[next++] as RouteLookup };
    const list = found.get(peer) ?? [];
    const podDev = pod === undefined ? {} : { podDev: pod.dev };
    list.push({ outward: outward[i] as RouteLookup, ...answer, ...podDev });
    found.set(peer, list);
  }
  return found;
}

interface EncryptionContext extends Pick<MeshState, "settings" | "node"> {
  readonly devices: ReadonlyMap<string, Device>;
  readonly host: Kernel["host"];
}

/** Adds the way of the encrypted packets of those that go into the tunnel: past our tables, to the endpoint that the device has. */
function lookUpEncrypted(found: Lookups, { settings, node, devices, host }: EncryptionContext): void {
  const { mark } = settings.fwmark;
  const endpoints = new Map([...devices].map(([dev, device]) => [dev, endpointsOf(device)]));
  const packets = [...found].flatMap(([peer, lookups]) =>
    lookups.flatMap((packet) => {
      const slot = tunnelSlot(settings, packet.outward);
      const dst = endpoints.get(packet.outward.devs[0] ?? "")?.get(keyOf(peer, slot) ?? "");
      return dst === undefined || specialAddress(dst) !== undefined ? [] : [{ packet, dst }];
    }),
  );
  const dsts = [...new Set(packets.map(({ dst }) => dst))];
  const routes = new Map(host.lookUpRoutes(dsts, mark).map((route) => [route.dst, route]));
  // Rules may have a way for packets from this node's address alone, which is what WireGuard sends from.
  const queries = [...routes.values()].flatMap(({ dst, error }) => {
    const from = node.endpoints.find((own) => familyOf(own) === familyOf(dst));
    return error === undefined || from === undefined ? [] : [{ dst, mark, from }];
  });
  for (const route of host.lookUpPackets(queries))
    if (route.error === undefined) routes.set(route.dst, route);
  const arriving = lookUpArriving([...routes.values()], {
    ...{ mark: marksOf(settings.fwmark).arrived.mark, node, host },
  });
  for (const { packet, dst } of packets) {
    const encrypted = routes.get(dst) as RouteLookup;
    const [arrival] = encrypted.devs.flatMap((dev) => arriving.get(wayIn(dev, familyOf(dst))) ?? []);
    Object.assign(packet, { encrypted, ...(arrival === undefined ? {} : { arriving: arrival }) });
  }
}

const wayIn = (dev: string, family: Family) => `${dev} ${family}`;

/**
 * The routes of encrypted packets as they arrive, by interface and family: from one peer's endpoint to this node's
 * own, if that address is on the interface. An endpoint behind an address translation is on none. They have the mark
 * that our table gives them before a strict reverse-path filter looks at it.
 */
function lookUpArriving(
  routes: readonly RouteLookup[],
  { mark, node, host }: { readonly mark: number; readonly node: NodeRecord; readonly host: Kernel["host"] },
): Map<string, RouteLookup> {
  const sources = new Map<string, { readonly dev: string; readonly src: string }>();
  for (const { devs, dst: src } of routes)
    for (const dev of devs) sources.set(wayIn(dev, familyOf(src)), { dev, src });
  const addresses = new Map<string, ReadonlySet<string>>();
  for (const { dev } of sources.values()) if (!addresses.has(dev)) addresses.set(dev, addressesOf(dev, host));
  const queries = [...sources].flatMap(([way, { dev, src }]) => {
    const own = addresses.get(dev) as ReadonlySet<string>;
    const dst = node.endpoints.find((ip) => familyOf(ip) === familyOf(src) && own.has(ip));
    return dst === undefined ? [] : [{ way, query: { dst, mark, arrival: { src, dev } } }];
  });
  const found = host.lookUpPackets(queries.map(({ query }) => query));
  return new Map(queries.map(({ way }, i) => [way, found[i] as RouteLookup]));
}

/** Empty if the interface has gone meanwhile. */
function addressesOf(dev: string, host: Kernel["host"]): ReadonlySet<string> {
  try {
    return new Set(host.addresses(dev).map(({ ip }) => ip));
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === Errno.ENODEV) return new Set();
    throw error;
  }
}

/** The addresses of the endpoints by the peers' keys. */
function endpointsOf({ peers }: Device): Map<string, string> {
  return new Map(
    peers.flatMap(({ publicKey, endpoint }) =>
      endpoint === undefined ? [] : [[publicKey, endpoint.ip] as const],
    ),
  );
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
