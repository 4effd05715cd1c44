// Reads what tcpdump -w wrote (classic pcap, Ethernet) down to addresses and
// ports. Only what a tally of a capture needs; pure.
// Format: pcap-savefile(5); headers: RFC 791, 8200, 768, 9293.

import { formatIp } from "../../src/net/ip.ts";

export interface Packet {
  /** Seconds since the epoch. */
  readonly time: number;
  /** 0x0806 ARP, 0x0800 IPv4, 0x86dd IPv6 … */
  readonly etherType: number;
  readonly source?: string;
  readonly destination?: string;
  /** 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6. */
  readonly protocol?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Of ICMP and ICMPv6. */
  readonly icmpType?: number;
  /** The payload of TCP or UDP, with the padding of short frames. */
  readonly payload?: Uint8Array;
  /** Length on the wire in bytes, Ethernet header included. */
  readonly length: number;
  /** The whole frame as captured. */
  readonly bytes: Uint8Array;
}

const fileHeaderBytes = 24;
const recordHeaderBytes = 16;
const ethernetBytes = 14;

/** A record still being written at the end is left out. */
export function parsePcap(file: Uint8Array): Packet[] {
  if (file.length < fileHeaderBytes) return [];
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0, true) !== 0xa1b2c3d4)
    throw new Error("Not a little-endian pcap file with microseconds");
  if (view.getUint32(20, true) !== 1) throw new Error("Not a capture of Ethernet frames");
  const packets: Packet[] = [];
  let at = fileHeaderBytes;
  while (at + recordHeaderBytes <= file.length) {
    const captured = view.getUint32(at + 8, true);
    const start = at + recordHeaderBytes;
    if (start + captured > file.length) break;
    const time = view.getUint32(at, true) + view.getUint32(at + 4, true) / 1e6;
    packets.push(parseFrame(file.subarray(start, start + captured), time, view.getUint32(at + 12, true)));
    at = start + captured;
  }
  return packets;
}

function parseFrame(bytes: Uint8Array, time: number, length: number): Packet {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const etherType = bytes.length < ethernetBytes ? 0 : view.getUint16(12);
  const frame = { time, etherType, length, bytes };
  if (etherType === 0x0800 && bytes.length >= ethernetBytes + 20) {
    const header = ethernetBytes + (view.getUint8(ethernetBytes) & 15) * 4;
    const fragment = view.getUint16(ethernetBytes + 6) & 0x1fff;
    return {
      ...frame,
      source: formatIp(bytes.subarray(26, 30)),
      destination: formatIp(bytes.subarray(30, 34)),
      ...(fragment === 0
        ? parseTransport(view, bytes[23] as number, header)
        : { protocol: bytes[23] as number }),
    };
  }
  if (etherType === 0x86dd && bytes.length >= ethernetBytes + 40) {
    // Hop-by-hop options stand before MLD reports; nothing else here has extension headers.
    const hopByHop = bytes[20] === 0 && bytes.length > 56;
    const protocol = bytes[hopByHop ? 54 : 20] as number;
    const header = hopByHop ? 54 + ((bytes[55] as number) + 1) * 8 : 54;
    return {
      ...frame,
      source: formatIp(bytes.subarray(22, 38)),
      destination: formatIp(bytes.subarray(38, 54)),
      ...parseTransport(view, protocol, header),
    };
  }
  return frame;
}

function parseTransport(view: DataView, protocol: number, at: number): Partial<Packet> {
  const tcp = protocol === 6;
  const needed = tcp ? 20 : 8;
  if (at + needed > view.byteLength) return { protocol };
  if (protocol === 1 || protocol === 58) return { protocol, icmpType: view.getUint8(at) };
  if (!tcp && protocol !== 17) return { protocol };
  const start = at + (tcp ? (view.getUint8(at + 12) >> 4) * 4 : 8);
  return {
    protocol,
    sourcePort: view.getUint16(at),
    destinationPort: view.getUint16(at + 2),
    payload: new Uint8Array(view.buffer, view.byteOffset, view.byteLength).subarray(start),
  };
}
