// Compares the desired and the observed state of one WireGuard device, and returns changes that lose no
// packet. Pure: time is an argument.

import { isSameEndpoint, type PeerConfig } from "../../net/device.ts";
import { zeroKey } from "../../net/key.ts";
import type { Slot } from "../../net/record.ts";
import { rejectAfterMs } from "../../net/wireguard-timers.ts";
import { without } from "../../net/without.ts";
import type { DeviceStep, PhasedSteps } from "../step.ts";
import type { MeshDevice, MeshPeer } from "./model.ts";

export interface DiffOptions {
  /** The slot whose private key each device has. */
  readonly slotOf: ReadonlyMap<string, Slot>;
  /** The node's own addresses: no peer has one of them. */
  readonly ownIPs: readonly string[];
  readonly nowMs: number;
  /** True if an endpoint of the public key that differs is where the peer itself has moved to. Absent: the handshake's age decides. */
  readonly hasRoamed?: (publicKey: string) => boolean;
}

/**
 * Allowed IPs that a peer is to lose are moved to this key, which is then
 * removed: moving is atomic, replacing a peer's whole list drops packets for
 * the ones it keeps, and the flag to remove one exists only from Linux 6.16.
 * It is no node's key: no handshake is ever sent to 32 bytes of 0x01.
 */
export const sinkKey = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/** Returns the steps that add missing parts of a device and remove extraneous ones. */
export function diffDevice(
  dev: string,
  desired: MeshDevice,
  seen: MeshDevice | undefined,
  options: DiffOptions,
): PhasedSteps {
  const observed = seen ?? { listenPort: 0, fwmark: 0, peers: new Map<string, MeshPeer>() };
  const own = {
    ...(desired.listenPort === observed.listenPort ? {} : { listenPort: desired.listenPort }),
    ...(desired.fwmark === observed.fwmark ? {} : { fwmark: desired.fwmark }),
  };
  const slot = desired.publicKey === observed.publicKey ? undefined : options.slotOf.get(dev);
  const changed: PeerConfig[] = [];
  const surplus: string[] = [];
  let found = 0;
  for (const [key, peer] of desired.peers) {
    const there = observed.peers.get(key);
    if (there !== undefined) found++;
    if (there !== undefined && isSame(peer, there)) continue;
    changed.push(...diffPeer(key, peer, there, options));
    surplus.push(...without(there?.allowedIPs ?? [], peer.allowedIPs));
  }
  const make: DeviceStep = {
    do: "configureDevice",
    dev,
    ...(slot === undefined ? {} : { privateKeyOf: slot }),
    config: { ...own, ...(changed.length === 0 ? {} : { peers: changed }) },
  };
  const removed = [
    ...removeAllowedIPs(surplus, desired),
    // If the numbers are equal, there is none too many, and no search is needed.
    ...(observed.peers.size === found ? [] : removedPeers(desired, observed)),
  ];
  return {
    setup: slot === undefined && Object.keys(make.config).length === 0 ? [] : [make],
    teardown: removed.length === 0 ? [] : [{ do: "configureDevice", dev, config: { peers: removed } }],
  };
}

/** True in the usual case of thousands of peers. It makes no set and no object. */
function isSame(desired: MeshPeer, seen: MeshPeer): boolean {
  return (
    isSameEndpoint(desired.endpoint, seen.endpoint) &&
    desired.keepaliveSeconds === seen.keepaliveSeconds &&
    desired.hasPresharedKey === seen.hasPresharedKey &&
    isSameList(desired.allowedIPs, seen.allowedIPs)
  );
}

/** Compares two lists that usually have the same order, too: a list of missing items is made only if they differ. */
function isSameList(desired: readonly string[], seen: readonly string[]): boolean {
  if (desired.length !== seen.length) return false;
  return desired.every((ip, i) => ip === seen[i]) || without(desired, seen).length === 0;
}

function diffPeer(
  publicKey: string,
  desired: MeshPeer,
  seen: MeshPeer | undefined,
  options: DiffOptions,
): PeerConfig[] {
  const added = without(desired.allowedIPs, seen?.allowedIPs ?? []);
  const change = {
    ...(endpointStands(publicKey, desired, seen, options) || desired.endpoint === undefined
      ? {}
      : { endpoint: desired.endpoint }),
    ...(desired.keepaliveSeconds === (seen?.keepaliveSeconds ?? 0)
      ? {}
      : { keepaliveSeconds: desired.keepaliveSeconds }),
    ...(desired.hasPresharedKey || !seen?.hasPresharedKey ? {} : { presharedKey: zeroKey }),
    ...(added.length === 0 ? {} : { allowedIPs: added }),
  };
  if (seen !== undefined && Object.keys(change).length === 0) return [];
  // A shorter one would begin only when the longer one is over.
  const isShorter = desired.keepaliveSeconds > 0 && desired.keepaliveSeconds < (seen?.keepaliveSeconds ?? 0);
  return [...(isShorter ? [{ publicKey, keepaliveSeconds: 0 }] : []), { publicKey, ...change }];
}

/**
 * Initiates handshakes after a device was set up anew, or a peer was removed (`seen` does not have it),
 * because their sessions are lost. The peer still sends into its own session, and these packets are lost
 * until it notices after 15 s (KEEPALIVE_TIMEOUT and REKEY_TIMEOUT). A handshake from here ends that at
 * once; switching a keepalive on makes one. If the gate is closed, the gate initiates.
 */
export function initiateHandshakes(
  dev: string,
  { peers: desired }: MeshDevice,
  seen: MeshDevice | undefined,
): DeviceStep[] {
  const peers: PeerConfig[] = [];
  for (const [publicKey, { isOpen, keepaliveSeconds }] of desired) {
    if (!isOpen || keepaliveSeconds > 0 || seen?.peers.has(publicKey)) continue;
    const initiate = { publicKey, updateOnly: true };
    peers.push({ ...initiate, keepaliveSeconds: 1 }, { ...initiate, keepaliveSeconds: 0 });
  }
  return peers.length === 0 ? [] : [{ do: "configureDevice", dev, config: { peers } }];
}

/** True if the endpoint that is there needs no change. */
function endpointStands(
  publicKey: string,
  desired: MeshPeer,
  seen: MeshPeer | undefined,
  options: DiffOptions,
): boolean {
  if (seen?.endpoint === undefined) return false;
  if (isSameEndpoint(seen.endpoint, desired.endpoint)) return true;
  if (options.hasRoamed?.(publicKey) === true) return true;
  // A peer had the address before this node: packets to it would not leave this node.
  if (options.ownIPs.includes(seen.endpoint.ip)) return false;
  // If the handshake is ahead of the clock, the clock was set back, and the age is unknown.
  return desired.mayRoam === true && options.nowMs - seen.lastHandshakeMs < rejectAfterMs;
}

/** `surplus`: allowed IPs that leave a peer that stays; other peers take over some of them. */
function removeAllowedIPs(surplus: readonly string[], desired: MeshDevice): PeerConfig[] {
  if (surplus.length === 0) return [];
  const wanted = new Set([...desired.peers.values()].flatMap((peer) => peer.allowedIPs));
  const leaving = surplus.filter((prefix) => !wanted.has(prefix));
  if (leaving.length === 0) return [];
  return [
    { publicKey: sinkKey, allowedIPs: leaving },
    { publicKey: sinkKey, remove: true },
  ];
}

function removedPeers(desired: MeshDevice, observed: MeshDevice): PeerConfig[] {
  return [...observed.peers.keys()]
    .filter((publicKey) => !desired.peers.has(publicKey))
    .map((publicKey) => ({ publicKey, remove: true }));
}
