// Observations are times on the agent's own clock that the devices have shown of every peer: the time of
// its last handshake, the time at which it last sent something. Counters and the
// kernel's wall-clock times become times here, so that a clock that is stepped
// changes no decision. Pure: both clocks are arguments.
import { type Device, type Endpoint, isSameEndpoint, type Peer } from "../../net/device.ts";
import type { Slot } from "../../net/record.ts";
import type { OwnedPeer } from "./model.ts";
import { slots, usableSlot } from "./path.ts";

/** One peer on one slot; all times in milliseconds on a clock that only goes forward. */
export interface SlotObservation {
  readonly publicKey: string;
  /** The key of this node's own slot. A handshake with another key proves nothing about this one. */
  readonly ownKey: string;
  /** The time of the last handshake; absent before the first one with these two keys. */
  readonly handshakeAtMs?: number;
  /** The peer's address as it was known when that handshake was read. */
  readonly handshakeFrom?: string;
  /** The last arrival of anything that a peer sends only if it receives our packets: also keepalives, but not initiations alone. */
  readonly heardAtMs?: number;
  /** The first packet since then that WireGuard answers: data and handshakes, not keepalives. */
  readonly unansweredSinceMs?: number;
  /** The last arrival of packets of pods or hosts. */
  readonly dataAtMs?: number;
  /**
   * The last time that anything was sent, also initiations. Packets without a route do not count. Packets
   * that a firewall drops on the way out count with the kernel's WireGuard, and not with a userspace one.
   */
  readonly sentAtMs?: number;
  /** The last time that packets of pods or hosts were sent. */
  readonly sentDataAtMs?: number;
  /** The peer's endpoint as it was read last; absent if it had none. */
  readonly endpoint?: Endpoint;
  /** The value as it was read last. */
  readonly lastHandshakeMs: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

export type PeerObservation = Readonly<Partial<Record<Slot, SlotObservation>>>;
/** The key is the peer's name. */
export type PeerObservations = ReadonlyMap<string, PeerObservation>;

export interface Clocks {
  /** Only goes forward. */
  readonly nowMs: number;
  /** Unix milliseconds, as the kernel's handshake times are. */
  readonly wallMs: number;
}

/**
 * Adds one more reading of the devices to the observations. `ownSinceMs`: Unix milliseconds at
 * which this node's own keys were made. A slot whose device was not read is not in the result. */
export function updateObservations(
  before: PeerObservations,
  peers: readonly OwnedPeer[],
  devices: Readonly<Partial<Record<Slot, Device>>>,
  ownSinceMs: Readonly<Partial<Record<Slot, number>>>,
  clocks: Clocks,
): PeerObservations {
  const byKey = { a: indexByKey(devices.a), b: indexByKey(devices.b) };
  const observations = new Map<string, PeerObservation>();
  for (const peer of peers) {
    const seenBefore = before.get(peer.name);
    const observation: { -readonly [S in Slot]?: SlotObservation } = {};
    for (const slot of slots) {
      const publicKey = usableSlot(peer, slot)?.publicKey;
      const read = publicKey === undefined ? undefined : byKey[slot].get(publicKey);
      const ownKey = devices[slot]?.publicKey;
      if (read !== undefined && ownKey !== undefined)
        observation[slot] = observeSlot(seenBefore?.[slot], read, ownKey, ownSinceMs[slot] ?? 0, clocks);
    }
    observations.set(peer.name, observation);
  }
  return observations;
}

function indexByKey(device: Device | undefined): Map<string, Peer> {
  const peers = new Map<string, Peer>();
  for (const peer of device?.peers ?? []) peers.set(peer.publicKey, peer);
  return peers;
}

function observeSlot(
  before: SlotObservation | undefined,
  read: Peer,
  ownKey: string,
  ownSinceMs: number,
  clocks: Clocks,
): SlotObservation {
  const { publicKey, lastHandshakeMs, rxBytes, txBytes, endpoint } = read;
  const from = endpoint === undefined ? {} : { handshakeFrom: endpoint.ip };
  const place = endpoint === undefined ? {} : { endpoint };
  const counters = { publicKey, ownKey, ...place, lastHandshakeMs, rxBytes, txBytes };
  if (before === undefined || before.publicKey !== publicKey || before.ownKey !== ownKey) {
    // The kernel keeps a peer's handshake time when our own key changes; it proves nothing about the new key.
    const isKept = before?.publicKey === publicKey && before.lastHandshakeMs === lastHandshakeMs;
    // A wall clock from before the key was made has been set back: by it, all handshakes would be older.
    const isOld = isKept || (lastHandshakeMs < ownSinceMs && ownSinceMs <= clocks.wallMs);
    if (lastHandshakeMs === 0 || isOld) return counters;
    return { ...counters, ...from, handshakeAtMs: clocks.nowMs - ageOf(lastHandshakeMs, clocks.wallMs) };
  }
  // Most of thousands of peers.
  const isSilent = rxBytes === before.rxBytes && lastHandshakeMs === before.lastHandshakeMs;
  if (isSilent && txBytes === before.txBytes && isSameEndpoint(endpoint, before.endpoint)) return before;
  const { nowMs } = clocks;
  // A peer that was removed and added again counts from zero, and has no session.
  const received = rxBytes >= before.rxBytes ? rxBytes - before.rxBytes : rxBytes;
  const sent = txBytes >= before.txBytes ? txBytes - before.txBytes : txBytes;
  const { handshakeAtMs, heardAtMs, dataAtMs, sentAtMs, sentDataAtMs, unansweredSinceMs } = before;
  const isHeard = received > 0 && !triesAlone.has(received);
  const isShaken = lastHandshakeMs !== before.lastHandshakeMs && lastHandshakeMs !== 0;
  const fromBefore = before.handshakeFrom === undefined ? {} : { handshakeFrom: before.handshakeFrom };
  return {
    ...counters,
    ...(isShaken ? from : fromBefore),
    ...timed("handshakeAtMs", lastHandshakeMs === 0 ? undefined : handshakeAtMs, {
      happened: isShaken,
      nowMs,
    }),
    ...timed("heardAtMs", heardAtMs, { happened: isHeard, nowMs }),
    ...timed("unansweredSinceMs", isHeard ? undefined : unansweredSinceMs, {
      happened: !isHeard && unansweredSinceMs === undefined && !keepalivesAlone.has(sent),
      nowMs,
    }),
    ...timed("dataAtMs", dataAtMs, { happened: isData(received), nowMs }),
    ...timed("sentAtMs", sentAtMs, { happened: sent > 0, nowMs }),
    ...timed("sentDataAtMs", sentDataAtMs, { happened: isData(sent), nowMs }),
  };
}

/** Returns the last time of an event: now if it happened, else the earlier time, if any. */
function timed<K extends string>(
  name: K,
  beforeMs: number | undefined,
  { happened, nowMs }: { readonly happened: boolean; readonly nowMs: number },
): { readonly [key in K]?: number } {
  const atMs = happened ? nowMs : beforeMs;
  return (atMs === undefined ? {} : { [name]: atMs }) as { readonly [key in K]?: number };
}

/** A handshake that seems to come from the future was made before the clock was set back. */
function ageOf(lastHandshakeMs: number, wallMs: number): number {
  return Math.max(0, wallMs - lastHandshakeMs);
}

/** The sums of a keepalive (32 bytes), a handshake's initiation (148) and its response (92). */
const bareSums: ReadonlySet<number> = new Set([0, 32, 92, 124, 148, 180, 296]);

/**
 * True for one or two initiations, and nothing else: had the peer received our
 * response, a keepalive or packets would have followed.
 */
const triesAlone: ReadonlySet<number> = new Set([148, 296]);

/** So many between two readings need no answer; two of them count as much as the smallest packet. */
const keepalivesAlone: ReadonlySet<number> = new Set([0, 32, 64]);

/** Packets that idle peers exchange are not data. */
function isData(bytes: number): boolean {
  return !bareSums.has(bytes);
}
