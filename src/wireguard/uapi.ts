// Configures WireGuard in a process of its own (wireguard-go, boringtun), by the UAPI socket that it has
// for each of its devices. text.ts has the protocol; start.ts starts such a process.
import { Errno, errnoCode, errnoText } from "../linux/errno.ts";
import { AF_UNIX, SOCK_STREAM, Socket } from "../linux/socket.ts";
import { cString, SysError } from "../linux/syscall.ts";
import type { Device, DeviceConfig } from "../net/device.ts";
import { attempt } from "../net/error.ts";
import type { WireGuard } from "./backend.ts";
import { formatSet, getRequest, parseErrno, parseGet, UapiTextError } from "./text.ts";

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
    const { errno, device } = understood(request, () => parseGet(name, receive(socket, request)));
    if (errno !== 0) throw new UapiError(request, errno);
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
    this.#writes++;
    send(socket, formatSet(config));
    const errno = understood(request, () => parseErrno(receive(socket, request)));
    if (errno !== 0) throw new UapiError(request, errno);
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

/** An answer ends with an empty line. */
function receive(socket: Socket, what: string): string {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(receiveBytes);
  const parts: string[] = [];
  let tail = "";
  for (let total = 0; total <= maxAnswerBytes; ) {
    const length = socket.receiveStream(buffer);
    const part = decoder.decode(buffer.subarray(0, length), { stream: true });
    parts.push(part);
    total += length;
    tail = (tail + part).slice(-2);
    if (length === 0 || tail === "\n\n") return parts.join("");
  }
  throw new UapiError(what, Errno.EMSGSIZE, { why: `the answer is longer than ${maxAnswerBytes} bytes` });
}

function understood<T>(request: string, parse: () => T): T {
  return attempt(UapiTextError, parse, (error) => {
    throw new UapiError(request, Errno.EPROTO, { cause: error, why: error.message });
  });
}
