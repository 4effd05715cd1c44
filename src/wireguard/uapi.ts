// Configures WireGuard in a process of its own (wireguard-go, boringtun), by the UAPI socket that it has
// for each of its devices. text.ts has the protocol; start.ts starts such a process.
import { Errno, errnoCode, errnoText } from "../linux/errno.ts";
import { AF_UNIX, SOCK_STREAM, Socket } from "../linux/socket.ts";
import { cString, SysError } from "../linux/syscall.ts";
import type { Device, DeviceConfig } from "../net/device.ts";
import { attempt } from "../net/error.ts";
import type { WireGuard } from "./backend.ts";
import { formatSet, GetParser, getRequest, type PeersByText, parseErrno, UapiTextError } from "./text.ts";

/** The directory in which wg(8) and all implementations have the sockets. */
export const uapiDirectory = "/var/run/wireguard";

const maxSocketPathBytes = 107;
const timeLimitSeconds = 30;
const receiveBytes = 65_536;
/** 5,000 peers with a hundred allowed IPs each are 16 MB. */
const maxAnswerBytes = 256 * 1024 * 1024;

/** A request that the process refused, or answered with nonsense. */
export class UapiError extends Error {
  override readonly name = "UapiError";
  readonly code: string;

  constructor(
    readonly request: string,
    readonly errno: number,
    options?: ErrorOptions & { why?: string },
  ) {
    super(`Cannot ${request}: ${errnoCode(errno)} (${options?.why ?? errnoText(errno)})`, options);
    this.code = errnoCode(errno);
  }
}

export interface UserspaceOptions {
  /** The default is the directory in which all implementations have their sockets. */
  readonly socketDirectory?: string;
  /** The protocol shows private keys only; without this devices are read without a public key. */
  readonly publicKeyOf?: (privateKey: string) => string;
}

export function openUserspaceWireGuard(options: UserspaceOptions = {}): WireGuard {
  return new UserspaceWireGuard(options.socketDirectory ?? uapiDirectory, options.publicKeyOf);
}

class UserspaceWireGuard implements WireGuard {
  readonly backend = "userspace";
  /** The keys of each device as read last: to derive a public one takes longer than to read the device. */
  readonly #ownKeys = new Map<string, { readonly privateKey: string; readonly publicKey: string }>();
  /** The peers of each device as read last. */
  readonly #peers = new Map<string, PeersByText>();
  #writes = 0;

  constructor(
    private readonly directory: string,
    private readonly publicKeyOf: UserspaceOptions["publicKeyOf"],
  ) {}

  get writes(): number {
    return this.#writes;
  }

  /** Throws SysError, UapiError. */
  read(name: string): Device | undefined {
    return this.readAll([name])[0];
  }

  /**
   * All are asked before the first answer is waited for: a process takes 20 ms to put 5,000
   * peers into words. Throws SysError, UapiError.
   */
  readAll(names: readonly string[]): (Device | undefined)[] {
    using sockets = new DisposableStack();
    const asked = names.map((name) => {
      const socket = sockets.use(connect(this.directory, name));
      if (socket !== undefined) send(socket, getRequest);
      return socket;
    });
    return asked.map((socket, i) =>
      socket === undefined ? undefined : this.#receive(names[i] as string, socket),
    );
  }

  #receive(name: string, socket: Socket): Device {
    const request = `read WireGuard device ${name}`;
    const parser = new GetParser(name, this.#peers.get(name) ?? new Map());
    const { errno, device } = understood(request, () =>
      parser.finish(receive(socket, request, (bytes) => parser.take(bytes))),
    );
    if (errno !== 0) throw new UapiError(request, errno);
    this.#peers.set(name, parser.byText);
    const { privateKey } = device;
    if (privateKey === undefined || this.publicKeyOf === undefined) return device;
    const known = this.#ownKeys.get(name);
    const publicKey = known?.privateKey === privateKey ? known.publicKey : this.publicKeyOf(privateKey);
    this.#ownKeys.set(name, { privateKey, publicKey });
    return { ...device, publicKey };
  }

  /** Throws SysError, UapiError (ENODEV if no process has such a device). */
  configure(name: string, config: DeviceConfig): void {
    const request = `configure WireGuard device ${name}`;
    using socket = connect(this.directory, name);
    if (socket === undefined)
      throw new UapiError(request, Errno.ENODEV, {
        why: `no process answers at ${socketPath(this.directory, name)}`,
      });
    send(socket, formatSet(config));
    const errno = understood(request, () => parseErrno(new TextDecoder().decode(receive(socket, request))));
    if (errno !== 0) throw new UapiError(request, errno);
    this.#writes++;
  }

  /** There is nothing to let go of: each request has its own connection. */
  [Symbol.dispose](): void {}
}

/** Path of the socket of a device. */
export function socketPath(directory: string, name: string): string {
  return `${directory}/${name}.sock`;
}

/** A connection to a device's process; undefined if there is none, or only what a dead one left behind. */
function connect(directory: string, name: string): Socket | undefined {
  const path = socketPath(directory, name);
  const socket = Socket.open(AF_UNIX, SOCK_STREAM, 0, path);
  try {
    socket.setTimeLimit(timeLimitSeconds);
    socket.connect(unixAddress(path));
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    // A directory that is a file has no sockets.
    const gone: readonly number[] = [Errno.ENOENT, Errno.ECONNREFUSED, Errno.ENOTDIR];
    if (error instanceof SysError && gone.includes(error.errno)) return undefined;
    throw error;
  }
}

/** struct sockaddr_un: u16 AF_UNIX, then the path. */
function unixAddress(path: string): Uint8Array {
  const bytes = cString(path);
  if (bytes.length > maxSocketPathBytes + 1) throw new SysError("connect", Errno.ENAMETOOLONG, path);
  const address = new Uint8Array(2 + bytes.length);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}

function send(socket: Socket, request: string): void {
  socket.send(new TextEncoder().encode(request));
}

/**
 * Receives an answer, which ends with an empty line, and returns its last bytes. `take` sees what has come so far and
 * returns the number of bytes that it needs no longer: a whole answer of thousands of peers is never held.
 */
function receive(socket: Socket, what: string, take: (bytes: Uint8Array) => number = () => 0): Uint8Array {
  let buffer = new Uint8Array(receiveBytes);
  let held = 0;
  for (let total = 0; total <= maxAnswerBytes; ) {
    if (held === buffer.length) buffer = enlarge(buffer);
    const length = socket.receiveStream(buffer.subarray(held));
    total += length;
    held += length;
    const isWhole = buffer[held - 1] === newline && buffer[held - 2] === newline;
    if (length === 0 || isWhole) return buffer.subarray(0, held);
    const taken = take(buffer.subarray(0, held));
    buffer.copyWithin(0, taken, held);
    held -= taken;
  }
  throw new UapiError(what, Errno.EMSGSIZE, { why: `the answer is longer than ${maxAnswerBytes} bytes` });
}

const newline = 0x0a;

/** One peer may have more allowed IPs than fit. */
function enlarge(buffer: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(2 * buffer.length);
  larger.set(buffer);
  return larger;
}

function understood<T>(request: string, parse: () => T): T {
  return attempt(UapiTextError, parse, (error) => {
    throw new UapiError(request, Errno.EPROTO, { cause: error, why: error.message });
  });
}
