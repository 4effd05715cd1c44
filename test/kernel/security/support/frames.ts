// Frames that no honest pod sends, built by hand, and a way to send them from a pod.
import { type Family, familyOf, ipBytes } from "../../../../src/net/ip.ts";
import type { Namespaces } from "../../../lab/namespaces.ts";

/** The interfaces and hosts that a frame comes from and goes to. */
export interface Ends {
  readonly from: string;
  readonly to: string;
}

const etherTypes = { 4: 0x0800, 6: 0x86dd, arp: 0x0806 } as const;
const protocols = { icmp: 1, udp: 17, icmpv6: 58 } as const;
const hopLimit = 255;

/** Sends the frames by an interface of the space. */
export function send(space: Namespaces, dev: string, frames: readonly Uint8Array[]): void {
  const script = `${import.meta.dir}/send-frames.ts`;
  space.must([process.execPath, "--smol", script, dev, ...frames.map((frame) => frame.toHex())]);
}

/** RFC 4861, 4.2, with a prefix to make an address of (4.6.2). */
export function routerAdvertisement(macs: Ends, ips: Ends, prefix: string): Uint8Array {
  const message = new Uint8Array(16 + 32);
  const view = new DataView(message.buffer);
  message[0] = 134;
  message[4] = 64;
  view.setUint16(6, 1800);
  // Prefix information: 4 times 8 bytes, on-link and autonomous, valid and preferred for an hour.
  message.set([3, 4, 64, 0xc0], 16);
  view.setUint32(20, 3600);
  view.setUint32(24, 3600);
  message.set(ipBytes(prefix), 32);
  return packet(macs, ips, "icmpv6", message);
}

/** RFC 4861, 4.5 and 4.4: an address, or a way to one, is at the sender's. */
export function redirect6(macs: Ends, ips: Ends, target: string, destination: string): Uint8Array {
  const message = new Uint8Array(40 + 8);
  message[0] = 137;
  message.set(ipBytes(target), 8);
  message.set(ipBytes(destination), 24);
  message.set([2, 1, ...macBytes(macs.from)], 40);
  return packet(macs, ips, "icmpv6", message);
}

export function neighbourAdvertisement(macs: Ends, ips: Ends, target: string): Uint8Array {
  const message = new Uint8Array(24 + 8);
  // Solicited, overriding.
  message.set([136, 0, 0, 0, 0x60]);
  message.set(ipBytes(target), 8);
  message.set([2, 1, ...macBytes(macs.from)], 24);
  return packet(macs, ips, "icmpv6", message);
}

/** RFC 792: hosts' redirect, about a packet that the receiver is made to believe it has sent. */
export function redirect4(macs: Ends, ips: Ends, gateway: string, destination: string): Uint8Array {
  const about = ipv4Header({ from: ips.to, to: destination }, protocols.udp, 8);
  const message = new Uint8Array(8 + about.length + 8);
  message.set([5, 1]);
  message.set(ipBytes(gateway), 4);
  message.set(about, 8);
  new DataView(message.buffer).setUint16(2, checksum(message));
  return packet(macs, ips, "icmp", message);
}

export function udp(macs: Ends, ips: Ends, port: number): Uint8Array {
  return datagram(macs, ips, { from: port, to: port }, new Uint8Array(4));
}

export function datagram(
  macs: Ends,
  ips: Ends,
  ports: { readonly from: number; readonly to: number },
  payload: Uint8Array,
): Uint8Array {
  const header = new Uint8Array(8);
  const view = new DataView(header.buffer);
  view.setUint16(0, ports.from);
  view.setUint16(2, ports.to);
  view.setUint16(4, header.length + payload.length);
  return packet(macs, ips, "udp", joined(header, payload));
}

/** Operation 1 asks, 2 answers: "`sender` is at this MAC" (RFC 826). */
export function arp(macs: Ends, operation: 1 | 2, sender: string, target: string): Uint8Array {
  const message = new Uint8Array(28);
  message.set([0, 1, 8, 0, 6, 4, 0, operation]);
  message.set(macBytes(macs.from), 8);
  message.set(ipBytes(sender), 14);
  message.set(macBytes(macs.to), 18);
  message.set(ipBytes(target), 24);
  return frame(macs, etherTypes.arp, message);
}

function packet(macs: Ends, ips: Ends, protocol: keyof typeof protocols, message: Uint8Array): Uint8Array {
  const family: Family = familyOf(ips.from);
  const number = protocols[protocol];
  if (family === 4) {
    const header = ipv4Header(ips, number, message.length);
    return frame(macs, etherTypes[4], joined(header, message));
  }
  const at = protocol === "icmpv6" ? 2 : 6;
  new DataView(message.buffer).setUint16(
    at,
    checksum(joined(pseudoHeader(ips, number, message.length), message)),
  );
  const header = new Uint8Array(40);
  header[0] = 0x60;
  new DataView(header.buffer).setUint16(4, message.length);
  header.set([number, hopLimit], 6);
  header.set(ipBytes(ips.from), 8);
  header.set(ipBytes(ips.to), 24);
  return frame(macs, etherTypes[6], joined(header, message));
}

/** The checksum of UDP stays 0 over IPv4: none. */
function ipv4Header(ips: Ends, protocol: number, payloadBytes: number): Uint8Array {
  const header = new Uint8Array(20);
  const view = new DataView(header.buffer);
  header[0] = 0x45;
  view.setUint16(2, 20 + payloadBytes);
  header.set([hopLimit, protocol], 8);
  header.set(ipBytes(ips.from), 12);
  header.set(ipBytes(ips.to), 16);
  view.setUint16(10, checksum(header));
  return header;
}

export function pseudoHeader(ips: Ends, protocol: number, length: number): Uint8Array {
  const header = new Uint8Array(40);
  header.set(ipBytes(ips.from));
  header.set(ipBytes(ips.to), 16);
  new DataView(header.buffer).setUint32(32, length);
  header[39] = protocol;
  return header;
}

/** RFC 1071. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function frame(macs: Ends, etherType: number, payload: Uint8Array): Uint8Array {
  const header = new Uint8Array(14);
  header.set(macBytes(macs.to));
  header.set(macBytes(macs.from), 6);
  new DataView(header.buffer).setUint16(12, etherType);
  return joined(header, payload);
}

function macBytes(mac: string): Uint8Array {
  return Uint8Array.fromHex(mac.replaceAll(":", ""));
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
