// Cuts one change of a device into messages that the kernel takes: an attribute
// is at most 64 KB, so a list of peers, and a peer's list of allowed IPs, may go
// on in the next message (linux/wireguard.h, end of its comment). Pure.
//
//   message 1: REPLACE_PEERS, key, port | peer 1, peer 2, peer 3 REPLACE_ALLOWEDIPS: ip 1, ip 2
//   message 2:                          | peer 3: ip 3, ip 4, peer 4 …
import type { DeviceConfig, PeerConfig } from "../net/device.ts";

/** The limit is 65,535; the rest is room to spare for the nest's own header. */
const maxPeersBytes = 65_000;
/** Upper bounds of what wire/wireguard.ts writes, with headers and padding. */
const peerBytes = 4 + 36 + 36 + 8 + 32 + 8 + 4;
const allowedIpBytes = 4 + 8 + 20 + 8;

/** One part after another; applied in order they amount to `config`. There is always a first. */
export function splitConfig(config: DeviceConfig, maxBytes = maxPeersBytes): DeviceConfig[] {
  const { peers = [], ...device } = config;
  const parts: DeviceConfig[] = [];
  let part: PeerConfig[] = [];
  let room = maxBytes;
  const finish = () => {
    // Only the first message replaces the peers, or sets the device's own properties.
    parts.push(parts.length === 0 ? { ...device, peers: part } : { peers: part });
    part = [];
    room = maxBytes;
  };
  for (const peer of peers) {
    const allowedIPs = peer.allowedIPs ?? [];
    let done = 0;
    do {
      if (room < peerBytes + (done < allowedIPs.length ? allowedIpBytes : 0)) finish();
      const count = Math.min(allowedIPs.length - done, Math.floor((room - peerBytes) / allowedIpBytes));
      part.push(peerPart(peer, allowedIPs, done, done + count));
      room -= peerBytes + count * allowedIpBytes;
      done += count;
    } while (done < allowedIPs.length);
  }
  finish();
  return parts;
}

/** A peer that goes on only adds allowed IPs: replacing them again would undo the part before. */
function peerPart(peer: PeerConfig, allowedIPs: readonly string[], from: number, to: number): PeerConfig {
  if (from === 0 && to === allowedIPs.length) return peer;
  const slice = allowedIPs.slice(from, to);
  if (from === 0) return { ...peer, allowedIPs: slice };
  return {
    publicKey: peer.publicKey,
    ...(peer.updateOnly === undefined ? {} : { updateOnly: peer.updateOnly }),
    allowedIPs: slice,
  };
}
