// Counted datagrams and the UDP sockets that carry them, by system calls: an
// instrument must not lose a packet itself, and must know when it did. So the
// receive buffer is larger than the system allows programs by default, the
// kernel is asked how many it dropped there, and every refusal of a send is
// seen with its error. Header, big-endian, then the text that a capture looks for:
//
//   0        4        8        12               20
//   │ "wgst" │ flow   │ number │ sent (f64, ms) │ text …

import { Errno, errnoCode } from "../../src/linux/errno.ts";
import { rawSyscall, syscall } from "../../src/linux/syscall.ts";
import { familyOf, ipBytes } from "../../src/net/ip.ts";

const magic = 0x77677374;
const headerBytes = 20;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
const SK_MEMINFO_DROPS = 8;
/** Ten seconds of a thousand packets/s: a small packet takes about 800 bytes of it. */
const receiveBufferBytes = 8 * 1024 * 1024;
const sockaddrBytes = 28;

export interface Datagram {
  readonly flow: number;
  readonly number: number;
  /** Milliseconds since the epoch. */
  readonly sentMs: number;
}

/** The nft expression that is a packet's number, for rules that drop known packets. */
export const numberInNft = `@th,${(8 + 8) * 8},32`;

/** A datagram to be numbered and sent again and again. */
export function blankDatagram(flow: number, text: string): Uint8Array {
  const bytes = new Uint8Array([...new Uint8Array(headerBytes), ...new TextEncoder().encode(text)]);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, flow);
  return bytes;
}

export function numberDatagram(bytes: Uint8Array, number: number, sentMs: number): void {
  const view = new DataView(bytes.buffer);
  view.setUint32(8, number);
  view.setFloat64(12, sentMs);
}

/** Undefined for what is not one of ours. */
export function findDatagram(bytes: Uint8Array, length: number): Datagram | undefined {
  const view = new DataView(bytes.buffer);
  if (length < headerBytes || view.getUint32(0) !== magic) return undefined;
  return { flow: view.getUint32(4), number: view.getUint32(8), sentMs: view.getFloat64(12) };
}

/** struct sockaddr_in or sockaddr_in6. */
export function sockaddr(ip: string, port: number): Uint8Array {
  const ip4 = familyOf(ip) === 4;
  const bytes = new Uint8Array(ip4 ? 16 : sockaddrBytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ip4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(ipBytes(ip), ip4 ? 4 : 8);
  return bytes;
}

/** Never blocks. Lives as long as its process. */
export class UdpSocket {
  /** The last received datagram, with its sender. */
  readonly buffer = new Uint8Array(2048);
  readonly #from = new Uint8Array(sockaddrBytes);
  readonly #fromLength = new Int32Array(1);
  readonly #fromLengthBytes = new Uint8Array(this.#fromLength.buffer);
  readonly #fd: number;

  /** Bound to `local` if it is given. Throws SysError. */
  constructor(
    family: 4 | 6,
    readonly subject: string,
    local?: Uint8Array,
  ) {
    const domain = family === 4 ? AF_INET : AF_INET6;
    this.#fd = syscall("socket", subject, domain, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0);
    const bytes = new Uint8Array(Int32Array.of(receiveBufferBytes).buffer);
    syscall("setsockopt", subject, this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes, bytes.length);
    if (local) syscall("bind", subject, this.#fd, local, local.length);
  }

  /** The name of the error if the kernel refused: "EAGAIN" for a full buffer, "EACCES" for `prohibit`. */
  trySend(bytes: Uint8Array, length: number, to: Uint8Array): string | undefined {
    const result = rawSyscall("sendto", this.#fd, bytes, length, 0, to, to.length);
    return result < 0 ? errnoCode(-result) : undefined;
  }

  /** Into `buffer`; its length, or undefined when there is nothing. Throws SysError. */
  receive(): number | undefined {
    this.#fromLength[0] = sockaddrBytes;
    const { buffer } = this;
    const length = rawSyscall(
      "recvfrom",
      this.#fd,
      buffer,
      buffer.length,
      0,
      this.#from,
      this.#fromLengthBytes,
    );
    if (length === -Errno.EAGAIN) return undefined;
    if (length < 0) throw new Error(`Cannot receive on ${this.subject}: ${errnoCode(-length)}`);
    return length;
  }

  /** Sends what was received last back to its sender. */
  tryAnswer(length: number): string | undefined {
    return this.trySend(this.buffer, length, this.#from.subarray(0, this.#fromLength[0]));
  }

  /** How many packets found the receive buffer full. */
  dropped(): number {
    const words = new Uint32Array(SK_MEMINFO_DROPS + 1);
    const bytes = new Uint8Array(words.buffer);
    const length = new Uint8Array(Int32Array.of(bytes.length).buffer);
    syscall("getsockopt", this.subject, this.#fd, SOL_SOCKET, SO_MEMINFO, bytes, length);
    return words[SK_MEMINFO_DROPS] as number;
  }
}
