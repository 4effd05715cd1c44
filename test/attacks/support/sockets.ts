// Sockets of the test process in the namespaces of the lab: those that attacks are sent by, and those that
// see what becomes of them. A socket stays in the namespace that the thread was in when it was made.
import { closeFd } from "../../../src/linux/file.ts";
import { withNetns } from "../../../src/linux/netns.ts";
import { rawSyscall, syscall } from "../../../src/linux/syscall.ts";
import { familyOf } from "../../../src/net/ip.ts";
import { sockaddr } from "../../lab/datagram.ts";
import { findIds } from "./packet.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SO_RCVBUFFORCE = 33;
const SO_MARK = 36;
const IPPROTO_RAW = 255;
const ETH_P_ALL_BE = 0x0300;
const PACKET_OUTGOING = 4;
const receiveBufferBytes = 16 * 1024 * 1024;
const protocols = { 4: [1, 6, 17, 253], 6: [6, 17, 58, 253] } as const;
const etherTypes = { 4: 0x0800, 6: 0x86dd } as const;
/** Of ICMP and ICMPv6, the messages that quote the packet that they are about; redirects do, too. */
const errorTypes = { 1: [3, 4, 5, 11, 12], 58: [1, 2, 3, 4, 137] } as const;
const linkAddressBytes = 20;

/** A part of an attack that was seen. */
export interface Sighting {
  readonly id: number;
  /** "local" if a process of the host would get it; else "in DEVICE" or "out DEVICE". */
  readonly at: string;
  /** An ICMP error that quotes it. */
  readonly isError: boolean;
}

/** Sends frames, or packets if the device has no link layer, by one device. */
export class LinkSender implements Disposable {
  readonly #fd: number;
  readonly #address = new Uint8Array(linkAddressBytes);

  constructor(
    netns: string,
    readonly index: number,
    private readonly header: ((family: 4 | 6) => Uint8Array) | undefined,
  ) {
    const type = (header === undefined ? SOCK_DGRAM : SOCK_RAW) | SOCK_NONBLOCK_CLOEXEC;
    this.#fd = withNetns(netns, () => syscall("socket", "a link", AF_PACKET, type, 0));
  }

  send(packet: Uint8Array): void {
    const family = (packet[0] as number) >> 4 === 4 ? 4 : 6;
    const bytes = this.header === undefined ? packet : Uint8Array.of(...this.header(family), ...packet);
    const view = new DataView(this.#address.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, etherTypes[family]);
    view.setInt32(4, this.index, true);
    syscall("sendto", "a link", this.#fd, bytes, bytes.length, 0, this.#address, linkAddressBytes);
  }

  [Symbol.dispose](): void {
    closeFd(this.#fd);
  }
}

/** Sends packets as a process that may open raw sockets does: with a mark, by a device. The kernel may refuse them. */
export function sendRaw(
  netns: string,
  { to, packets, mark = 0, dev }: { to: string; packets: readonly Uint8Array[]; mark?: number; dev?: string },
): void {
  const domain = familyOf(to) === 4 ? AF_INET : AF_INET6;
  const fd = withNetns(netns, () =>
    syscall("socket", to, domain, SOCK_RAW | SOCK_NONBLOCK_CLOEXEC, IPPROTO_RAW),
  );
  const option = (name: number, value: Uint8Array) =>
    syscall("setsockopt", to, fd, SOL_SOCKET, name, value, value.length);
  if (mark !== 0) option(SO_MARK, new Uint8Array(Uint32Array.of(mark).buffer));
  if (dev !== undefined) option(SO_BINDTODEVICE, new TextEncoder().encode(dev));
  const address = sockaddr(to, 0);
  for (const packet of packets) rawSyscall("sendto", fd, packet, packet.length, 0, address, address.length);
  closeFd(fd);
}

/** Sees all that goes by the devices of a namespace, and all that its processes would get. */
export class Witness implements Disposable {
  readonly #links: number;
  readonly #locals: readonly { readonly fd: number; readonly family: 4 | 6; readonly protocol: number }[];
  readonly #buffer = new Uint8Array(4096);
  readonly #from = new Uint8Array(linkAddressBytes);

  constructor(
    netns: string,
    readonly name: string,
    private readonly deviceOf: (index: number) => string,
    hearsLocal: boolean,
    /** Gets all that goes by the devices, in a buffer that is used again. */
    private readonly onPacket: (packet: Uint8Array) => void = () => {},
  ) {
    const open = (domain: number, type: number, protocol: number) => {
      const fd = syscall("socket", name, domain, type | SOCK_NONBLOCK_CLOEXEC, protocol);
      const bytes = new Uint8Array(Int32Array.of(receiveBufferBytes).buffer);
      syscall("setsockopt", name, fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, bytes.length);
      return fd;
    };
    const families = hearsLocal ? ([4, 6] as const) : [];
    const opened = withNetns(netns, () => ({
      links: open(AF_PACKET, SOCK_DGRAM, ETH_P_ALL_BE),
      locals: families.flatMap((family) =>
        protocols[family].map((protocol) => ({
          ...{ family, protocol },
          fd: open(family === 4 ? AF_INET : AF_INET6, SOCK_RAW, protocol),
        })),
      ),
    }));
    this.#links = opened.links;
    this.#locals = opened.locals;
  }

  /** Returns what was seen since the last time. */
  read(): Sighting[] {
    const seen: Sighting[] = [];
    for (let length = this.#receive(this.#links); length >= 0; length = this.#receive(this.#links)) {
      const view = new DataView(this.#from.buffer);
      const direction = this.#from[10] === PACKET_OUTGOING ? "out" : "in";
      const at = `${direction} ${this.deviceOf(view.getInt32(4, true))}`;
      const packet = this.#buffer.subarray(0, length);
      this.onPacket(packet);
      for (const id of findIds(packet)) seen.push({ id, at, isError: isError(packet) });
    }
    for (const { fd, family, protocol } of this.#locals)
      for (let length = this.#receive(fd); length >= 0; length = this.#receive(fd)) {
        const packet = this.#buffer.subarray(0, length);
        // IPv6's raw sockets give the message alone.
        const error = family === 4 ? isError(packet) : protocol === 58 && isErrorType(58, packet[0]);
        for (const id of findIds(packet)) seen.push({ id, at: "local", isError: error });
      }
    return seen;
  }

  [Symbol.dispose](): void {
    for (const fd of [this.#links, ...this.#locals.map((local) => local.fd)]) closeFd(fd);
  }

  #receive(fd: number): number {
    const room = new Uint8Array(Int32Array.of(linkAddressBytes).buffer);
    return rawSyscall("recvfrom", fd, this.#buffer, this.#buffer.length, 0, this.#from, room);
  }
}

function isError(packet: Uint8Array): boolean {
  const isFour = (packet[0] as number) >> 4 === 4;
  const at = isFour ? ((packet[0] as number) & 15) * 4 : 40;
  return isErrorType(packet[isFour ? 9 : 6] as number, packet[at]);
}

function isErrorType(protocol: number, type: number | undefined): boolean {
  return ((errorTypes as Record<number, readonly number[]>)[protocol] ?? []).includes(type ?? -1);
}
