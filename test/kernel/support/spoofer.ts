// Frames as somebody sends them who has raw access to a link: any source address, to any
// station. A program, and the functions that make frames and run it in a space of the lab.
import { readFileSync } from "node:fs";
import { syscall } from "../../../src/linux/syscall.ts";
import { familyOf, ipBytes } from "../../../src/net/ip.ts";
import type { Namespaces } from "../../lab/namespaces.ts";

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const etherTypes = { 4: 0x0800, 6: 0x86dd } as const;
const protocols = { tcp: 6, udp: 17 } as const;
const headerBytes = { 4: 20, 6: 40 } as const;
const hopLimit = 64;
const tcpAck = 0x10;

export interface Claim {
  /** Whom the packet claims to come from. */
  readonly from: string;
  readonly to: string;
  readonly port: number;
  /** A bare acknowledgment, which belongs to no connection; a datagram unless told. */
  readonly protocol?: keyof typeof protocols;
}

/** Sends each once by `dev`, to the station with the link-layer address `mac`. Throws CommandError. */
export function spoof(where: Namespaces, dev: string, mac: string, claims: readonly Claim[]): void {
  const frames = claims.map((claim) => frame(mac, claim).toHex());
  where.must([process.execPath, "--smol", import.meta.path, dev], { stdin: JSON.stringify(frames) });
}

/** The link-layer address of an interface. */
export function macOf(space: Namespaces, dev: string): string {
  return space.must(["cat", `/sys/class/net/${dev}/address`]).trim();
}

function frame(mac: string, { from, to, port, protocol = "udp" }: Claim): Uint8Array {
  const family = familyOf(to);
  const payload = protocol === "udp" ? datagram(port) : acknowledgment(port);
  const header = new Uint8Array(headerBytes[family]);
  const view = new DataView(header.buffer);
  const addressesAt = family === 4 ? 12 : 8;
  header.set([...ipBytes(from), ...ipBytes(to)], addressesAt);
  if (family === 4) {
    header.set([0x45, 0, 0, 0, 0, 0, 0, 0, hopLimit, protocols[protocol]]);
    view.setUint16(2, header.length + payload.length);
    view.setUint16(10, checksum(header));
  } else {
    header.set([0x60, 0, 0, 0, 0, payload.length, protocols[protocol], hopLimit]);
  }
  const pseudo = [...header.subarray(addressesAt), 0, protocols[protocol], 0, payload.length];
  const checksumAt = protocol === "udp" ? 6 : 16;
  new DataView(payload.buffer).setUint16(checksumAt, checksum(Uint8Array.of(...pseudo, ...payload)));
  const station = Uint8Array.fromHex(mac.replaceAll(":", ""));
  const type = etherTypes[family];
  return Uint8Array.of(...station, 2, 0, 0, 0, 0, 0xbd, type >> 8, type & 255, ...header, ...payload);
}

function datagram(port: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, port);
  view.setUint16(2, port);
  view.setUint16(4, bytes.length);
  return bytes;
}

function acknowledgment(port: number): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, port);
  view.setUint16(2, port);
  bytes[12] = 5 << 4;
  bytes[13] = tcpAck;
  return bytes;
}

/** Of an even number of bytes (RFC 1071). */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** struct sockaddr_ll. */
function linkAddress(dev: string): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_PACKET, true);
  view.setInt32(4, Number(readFileSync(`/sys/class/net/${dev}/ifindex`, "utf8")), true);
  return bytes;
}

if (import.meta.main) {
  const dev = process.argv[2] ?? "";
  const address = linkAddress(dev);
  const fd = syscall("socket", dev, AF_PACKET, SOCK_RAW_CLOEXEC, 0);
  for (const hex of (await Bun.stdin.json()) as string[]) {
    const bytes = Uint8Array.fromHex(hex);
    syscall("sendto", dev, fd, bytes, bytes.length, 0, address, address.length);
  }
}
