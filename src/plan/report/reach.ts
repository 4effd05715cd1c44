// Judges where a packet for a peer goes now, from the kernel alone: its route, the device that the route
// leads to, and the peer of that device that takes the packet. Pure. The lookups are reconcile/reach.ts.
//
//   route                                  device                             the packet
//   ─────────────────────────────────────  ─────────────────────────────────  ──────────────────────
//   by a WireGuard device of ours          has this node's key, and the peer  tunnel
//                                          of this slot has the address
//                                          anything else, or encrypted        lost
//                                          packets have no way to the peer
//                                          or, from it, to this node
//   by another interface                   strict mode's firewall is there    refused
//                                          it is not, or the mode is another  plaintext
//   prohibit                                                                  refused
//   none, unreachable, blackhole, an address of this node itself, or the
//   answers are dropped on the way back, or led away from the pod             lost
import type { Peer } from "../../net/device.ts";
import type { RouteLookup } from "../../net/objects.ts";
import { formatPrefix, hostPrefix, prefixBytes } from "../../net/prefix.ts";
import type { NodeRecord, Slot } from "../../net/record.ts";
import type { OwnedPeer } from "../peers/model.ts";
import { keyOf, slots } from "../peers/path.ts";
import { type Settings, slotDevice } from "../settings/settings.ts";

export const reaches = ["tunnel", "plaintext", "refused", "lost"] as const;
export type Reach = (typeof reaches)[number];

/** The way of packets for a peer. */
export interface PeerReach {
  readonly reach: Reach;
  /** Of the tunnel. */
  readonly slot?: Slot;
  /** A clause that says what the kernel does with the packet; absent in the tunnel. */
  readonly why?: string;
  /** A clause that says why some packets that take the tunnel are lost (refused-sources.ts). */
  readonly loss?: string;
}

/** The routes of one packet to a peer's pod. */
export interface PacketLookup {
  readonly outward: RouteLookup;
  /** Of the answer as it leaves our device; absent if this node has no pod, or the packet is not in the tunnel. */
  readonly back?: RouteLookup;
  /** The interface of the pod that is answered. */
  readonly podDev?: string;
  /** Of the encrypted packet to the peer's endpoint; absent if the packet is not in the tunnel, or the device knows no endpoint. */
  readonly encrypted?: RouteLookup;
  /** Of the peer's encrypted packets as they arrive by that way's interface; absent if this node's address is not on it. */
  readonly arriving?: RouteLookup;
}

export interface KnownDevice {
  /** Absent if it has no key. */
  readonly publicKey?: string;
  readonly allowedIPs: AllowedIPs;
}

export interface ReachContext {
  readonly settings: Settings;
  readonly node: NodeRecord;
  /** The devices that there are, by name, with their allowed IPs. */
  readonly devices: ReadonlyMap<string, KnownDevice>;
  /** True if the nftables table is there that drops plaintext in strict mode. */
  readonly hasFirewall: boolean;
}

/** An address of the CIDR that a pod may have: the one after the network's own. */
export function probeAddress(cidr: string): string {
  const { bytes, length } = prefixBytes(cidr);
  const [first] = cidr.split("/") as [string];
  if (length === bytes.length * 8) return first;
  if (!first.includes(":")) return first.replace(/\d+$/, (last) => `${Number(last) + 1}`);
  return first.endsWith("::") ? `${first}1` : first;
}

/** The slot whose device a route leads to; undefined if it leads elsewhere. */
export function tunnelSlot(settings: Settings, { devs }: RouteLookup): Slot | undefined {
  return devs.length === 1 ? slots.find((slot) => slotDevice(settings, slot) === devs[0]) : undefined;
}

/** The worst of what happens to the packets; undefined without any. */
export function judgeReach(
  peer: OwnedPeer,
  packets: readonly PacketLookup[],
  context: ReachContext,
): PeerReach | undefined {
  const judged = packets.map((packet) => judgePacket(peer, packet, context));
  const order: readonly Reach[] = ["plaintext", "lost", "refused", "tunnel"];
  return judged.sort((one, other) => order.indexOf(one.reach) - order.indexOf(other.reach))[0];
}

function judgePacket(
  peer: OwnedPeer,
  packet: PacketLookup,
  { settings, node, devices, hasFirewall }: ReachContext,
): PeerReach {
  const { outward } = packet;
  const { dst, type, devs, error } = outward;
  if (error === "EACCES") return { reach: "refused", why: `the route to ${dst} is prohibited` };
  if (error !== undefined) return { reach: "lost", why: `the kernel has no way for ${dst} (${error})` };
  if (type === "local") return { reach: "lost", why: `${dst} is an address of this node` };
  const slot = tunnelSlot(settings, outward);
  if (slot === undefined) {
    const by = devs.length === 0 ? "no interface" : devs.join(" and ");
    return settings.mode === "strict" && hasFirewall
      ? { reach: "refused", why: `the route to ${dst} is by ${by}, and strict mode drops that` }
      : { reach: "plaintext", why: `the route to ${dst} is by ${by}` };
  }
  const fault = findDeviceFault(slot, { dst, peer, node, device: devices.get(devs[0] as string) });
  if (fault !== undefined) return { reach: "lost", slot, why: `${devs[0]} ${fault}` };
  const why = findObstacle(devs[0] as string, packet);
  return why === undefined ? { reach: "tunnel", slot } : { reach: "lost", slot, why };
}

/** Returns a clause that says where packets of the tunnel, or their answers, are lost; undefined if they are not. */
function findObstacle(
  tunnel: string,
  { back, podDev, encrypted, arriving }: PacketLookup,
): string | undefined {
  const outside = [tunnel, ...(encrypted?.devs ?? [])].filter((dev) => dev !== podDev);
  return (
    (encrypted && findEncryptedObstacle(encrypted, tunnel)) ??
    (arriving && findArrivingObstacle(arriving)) ??
    (back && findAnswerObstacle(back, tunnel, outside))
  );
}

/** Returns a clause that says why encrypted packets do not leave this node; undefined if they do. */
function findEncryptedObstacle(
  { dst, type, devs, error, isDead }: RouteLookup,
  tunnel: string,
): string | undefined {
  if (error !== undefined) return `the kernel has no way for encrypted packets to ${dst} (${error})`;
  if (type === "local") return `${dst}, the peer's endpoint, is an address of this node`;
  if (devs.includes(tunnel)) return `the route of encrypted packets to ${dst} is by ${tunnel} itself`;
  if (isDead)
    return `the route of encrypted packets to ${dst} is by ${devs.join(" and ")}, which has no carrier`;
  return undefined;
}

/** EXDEV; since Linux 6.14 EINVAL stands for every packet that would be dropped. */
const filterErrors: readonly (string | undefined)[] = ["EXDEV", "EINVAL"];

/** Returns a clause that says why encrypted packets do not get to this node's socket; undefined if they do. */
function findArrivingObstacle({ dst, type, devs, error }: RouteLookup): string | undefined {
  // Another program may mark or unmark what arrives, which decides what the reverse-path filter does: doctor has a check of it.
  if (type === "local" || filterErrors.includes(error)) return undefined;
  const led = devs.length === 0 ? (error ?? type) : `the route is by ${devs.join(" and ")}`;
  return `encrypted packets that arrive for ${dst} are not delivered to this node (${led})`;
}

/** Returns a clause that says why answers do not get to the pod; undefined if they do. They must not leave the node again. */
function findAnswerObstacle(
  { dst, devs, error }: RouteLookup,
  tunnel: string,
  outside: readonly string[],
): string | undefined {
  if (error === undefined) {
    const away = devs.filter((dev) => outside.includes(dev));
    return away.length === 0
      ? undefined
      : `answers for ${dst} are led away from it, by ${away.join(" and ")}`;
  }
  const cause = filterErrors.includes(error) ? "by its reverse-path filter (rp_filter), as a rule" : error;
  return `answers that arrive by ${tunnel} are dropped (${cause})`;
}

interface DevicePacket {
  readonly dst: string;
  readonly peer: OwnedPeer;
  readonly node: NodeRecord;
  readonly device: KnownDevice | undefined;
}

/** Returns why the device does not send the packet to the peer, as a predicate; undefined if it does. */
function findDeviceFault(slot: Slot, { dst, peer, node, device }: DevicePacket): string | undefined {
  if (device === undefined) return "is no WireGuard device";
  if (device.publicKey !== keyOf(node, slot)) return "has another key than this node's record";
  const taker = device.allowedIPs.find(dst);
  if (taker === undefined) return `has no peer for ${dst}`;
  return taker === keyOf(peer, slot) ? undefined : `has another peer for ${dst}`;
}

/** The allowed IPs of a device, by prefix, or prefixes of other owners: thousands of peers are asked for one address each. */
export class AllowedIPs {
  readonly #owners = new Map<string, string>();
  /** Of the prefixes that there are, longest first. */
  readonly #lengths: readonly number[];

  constructor({ peers }: { readonly peers: readonly Pick<Peer, "publicKey" | "allowedIPs">[] }) {
    const lengths = new Set<number>();
    for (const { publicKey, allowedIPs } of peers)
      for (const prefix of allowedIPs) {
        this.#owners.set(prefix, publicKey);
        lengths.add(Number(prefix.slice(prefix.indexOf("/") + 1)));
      }
    this.#lengths = [...lengths].sort((one, other) => other - one);
  }

  /** The key of the peer that has the longest prefix with the address. */
  find(ip: string): string | undefined {
    const { bytes } = prefixBytes(hostPrefix(ip));
    for (const length of this.#lengths) {
      if (length > bytes.length * 8) continue;
      const owner = this.#owners.get(formatPrefix(bytes, length));
      if (owner !== undefined) return owner;
    }
    return undefined;
  }
}
