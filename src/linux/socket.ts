// Sockets by system calls: open, bind or connect, send, receive, options.
// Calls block unless the socket is opened otherwise, but every wait has a limit. Addresses are sockaddr
// bytes that the caller lays out.
import { Errno } from "./errno.ts";
import { closeFd } from "./file.ts";
import { rawSyscall, type SyscallName, SysError, syscall } from "./syscall.ts";

export const AF_UNIX = 1;
export const AF_NETLINK = 16;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOL_SOCKET = 1;
/** Room for what was received and not read, in bytes, whatever the limit of other users is. */
export const SO_RCVBUFFORCE = 33;
/** Added to the type: no call waits. */
export const SOCK_NONBLOCK = 0o4000;

const SOCK_CLOEXEC = 0o2000000;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SO_NETNS_COOKIE = 71;
const MSG_NOSIGNAL = 0x4000;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

/** Owns one socket. `subject` names it in error messages. */
export class Socket implements Disposable {
  #fd: number;

  private constructor(
    fd: number,
    readonly subject: string,
  ) {
    this.#fd = fd;
  }

  /** A socket of the network namespace the thread is in; it stays there. Throws SysError. */
  static open(domain: number, type: number, protocol: number, subject: string): Socket {
    return new Socket(syscall("socket", subject, domain, type | SOCK_CLOEXEC, protocol), subject);
  }

  bind(address: Uint8Array): void {
    this.#call("bind", address, address.length);
  }

  listen(backlog: number): void {
    this.#call("listen", backlog);
  }

  /** The next connection, which does not wait; undefined if there is none. Throws SysError. */
  accept(): Socket | undefined {
    const fd = rawSyscall("accept4", this.#fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd === -Errno.EAGAIN || fd === -Errno.ECONNABORTED) return undefined;
    if (fd < 0) throw new SysError("accept4", -fd, this.subject);
    return new Socket(fd, this.subject);
  }

  /** The descriptor, for callers that wait on it; this object closes it. */
  get fd(): number {
    return this.#fd;
  }

  connect(address: Uint8Array): void {
    this.#call("connect", address, address.length);
  }

  /**
   * Begins to connect a socket that does not block, and returns the progress at every further call:
   * 0 or EISCONN once it is done, EINPROGRESS or EALREADY while it is not, else why it failed.
   */
  tryConnect(address: Uint8Array): number {
    return -rawSyscall("connect", this.#fd, address, address.length);
  }

  /** Sends all the bytes. Throws SysError. */
  send(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const rest = done === 0 ? bytes : bytes.subarray(done);
      done += this.#call("sendto", rest, rest.length, MSG_NOSIGNAL);
    }
  }

  /**
   * Receives into `buffer`; returns the length of the data, 0 at the end of a
   * stream. A datagram that is longer than the buffer is cut off and reported
   * with its whole length. Throws SysError, EAGAIN when the time limit is over.
   */
  receive(buffer: Uint8Array): number {
    return this.#call("recvfrom", buffer, buffer.length, MSG_TRUNC);
  }

  /** Does the same as receive, but waits for nothing: undefined if nothing has come. Throws SysError. */
  receiveNow(buffer: Uint8Array): number | undefined {
    const flags = MSG_TRUNC | MSG_DONTWAIT;
    const length = rawSyscall("recvfrom", this.#fd, buffer, buffer.length, flags);
    if (length === -Errno.EAGAIN) return undefined;
    if (length < 0) throw new SysError("recvfrom", -length, this.subject);
    return length;
  }

  /** Does the same as receive, without MSG_TRUNC, which on streams means "throw away". */
  receiveStream(buffer: Uint8Array): number {
    return this.#call("recvfrom", buffer, buffer.length, 0);
  }

  /** Sets an option that is an int; false if the kernel does not know or refuses it. */
  trySetOption(level: number, name: number, value: number): boolean {
    return rawSyscall("setsockopt", this.#fd, level, name, intBytes(value), 4) === 0;
  }

  /** Reads an option of as many bytes as `value` has. Throws SysError. */
  getOption(level: number, name: number, value: Uint8Array): void {
    this.#call("getsockopt", level, name, value, intBytes(value.length));
  }

  /** Limits every later wait; parts of a second count. Throws SysError. */
  setTimeLimit(seconds: number): void {
    const whole = Math.floor(seconds);
    const timeval = new Uint8Array(16);
    timeval.set(intBytes(whole));
    timeval.set(intBytes(Math.round((seconds - whole) * 1e6)), 8);
    this.#call("setsockopt", SOL_SOCKET, SO_RCVTIMEO, timeval, timeval.length);
    this.#call("setsockopt", SOL_SOCKET, SO_SNDTIMEO, timeval, timeval.length);
  }

  /** The kernel's number of the socket's namespace, unique until reboot; undefined before Linux 5.14. */
  netnsCookie(): string | undefined {
    const cookie = new Uint8Array(8);
    const length = intBytes(cookie.length);
    const result = rawSyscall("getsockopt", this.#fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, length);
    if (-result === Errno.ENOPROTOOPT) return undefined;
    if (result < 0) throw new SysError("getsockopt", -result, this.subject);
    return cookie.toHex();
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) closeFd(this.#fd);
    this.#fd = -1;
  }

  #call(name: SyscallName, ...args: (number | Uint8Array)[]): number {
    return syscall(name, this.subject, this.#fd, ...args);
  }
}

/** An int in host (little-endian) order. */
function intBytes(value: number): Uint8Array {
  return Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
}
