// Stream sockets that have a path (unix(7)). A descriptor can be passed through them, and the kernel
// says which user is at the other end. They live in the file system, so a network namespace does not
// separate them.
import { Errno } from "./errno.ts";
import { chmod, rename, unlink } from "./file.ts";
import { AF_UNIX, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, Socket } from "./socket.ts";
import { addressOf, rawSyscall, SysError } from "./syscall.ts";

const SO_PEERCRED = 17;
const SCM_RIGHTS = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** sizeof(struct msghdr), and CMSG_LEN and CMSG_SPACE of one descriptor, on 64-bit machines. */
const messageHeaderBytes = 56;
const controlLength = 20;
const controlBytes = 24;
/** sizeof(sockaddr_un.sun_path), which ends with a zero. */
const pathBytes = 108;

/** Connects to the socket at `path`; every wait is limited to `seconds`. Throws SysError. */
export function connectUnix(path: string, seconds: number): Socket {
  const socket = Socket.open(AF_UNIX, SOCK_STREAM, 0, path);
  try {
    socket.setTimeLimit(seconds);
    socket.connect(unixAddress(path));
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

/**
 * Listens at `path`, which only its owner can connect to, and replaces what was there: a socket gets
 * the name when it listens already. Throws SysError.
 */
export function listenUnix(path: string, backlog: number): Socket {
  const draft = `${path}.new`;
  const socket = Socket.open(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, path);
  try {
    unlink(draft);
    socket.bind(unixAddress(draft));
    chmod(draft, 0o600);
    socket.listen(backlog);
    rename(draft, path);
    return socket;
  } catch (error) {
    socket[Symbol.dispose]();
    throw error;
  }
}

/** The process at the other end when the connection was made. */
export interface Peer {
  /** 0 if this process cannot see it. */
  readonly pid: number;
  readonly uid: number;
}

/** Throws SysError. */
export function peerOf(socket: Socket): Peer {
  // struct ucred: process, user, group.
  const credentials = new Uint8Array(12);
  socket.getOption(SOL_SOCKET, SO_PEERCRED, credentials);
  const view = new DataView(credentials.buffer);
  return { pid: view.getInt32(0, true), uid: view.getUint32(4, true) };
}

/** Sends all the bytes, the first of them with the descriptor. Throws SysError. */
export function sendWithFd(socket: Socket, bytes: Uint8Array, fd: number): void {
  const control = new Uint8Array(controlBytes);
  const view = new DataView(control.buffer);
  view.setBigUint64(0, BigInt(controlLength), true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  view.setInt32(16, fd, true);
  const message = new Message(bytes, control);
  const sent = rawSyscall("sendmsg", socket.fd, message.header, MSG_NOSIGNAL);
  if (sent < 0) throw new SysError("sendmsg", -sent, socket.subject);
  if (sent < bytes.length) socket.send(bytes.subarray(sent));
}

export interface Received {
  /** The number of bytes; 0 at the end of the stream. */
  readonly length: number;
  /** The descriptor that came with them; the caller closes it. */
  readonly fd?: number;
}

/** Receives into `buffer`; undefined if a socket that does not wait has nothing. Throws SysError. */
export function receiveWithFd(socket: Socket, buffer: Uint8Array): Received | undefined {
  const control = new Uint8Array(controlBytes);
  const message = new Message(buffer, control);
  const length = rawSyscall("recvmsg", socket.fd, message.header, MSG_CMSG_CLOEXEC);
  if (length === -Errno.EAGAIN) return undefined;
  if (length < 0) throw new SysError("recvmsg", -length, socket.subject);
  const view = new DataView(control.buffer);
  const hasFd =
    message.controlLength >= controlLength &&
    view.getInt32(8, true) === SOL_SOCKET &&
    view.getInt32(12, true) === SCM_RIGHTS;
  return hasFd ? { length, fd: view.getInt32(16, true) } : { length };
}

/** A struct msghdr for one piece of bytes and one piece of control data. It keeps what it points to. */
class Message {
  readonly header = new Uint8Array(messageHeaderBytes);
  /** struct iovec. */
  readonly #piece = new Uint8Array(16);

  constructor(
    readonly bytes: Uint8Array,
    readonly control: Uint8Array,
  ) {
    const piece = new DataView(this.#piece.buffer);
    piece.setBigUint64(0, addressOf(bytes), true);
    piece.setBigUint64(8, BigInt(bytes.length), true);
    const header = new DataView(this.header.buffer);
    header.setBigUint64(16, addressOf(this.#piece), true);
    header.setBigUint64(24, 1n, true);
    header.setBigUint64(32, addressOf(control), true);
    header.setBigUint64(40, BigInt(control.length), true);
  }

  get controlLength(): number {
    return Number(new DataView(this.header.buffer).getBigUint64(40, true));
  }
}

/** A sockaddr_un. Throws SysError ENAMETOOLONG. */
function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path);
  if (name.length >= pathBytes) throw new SysError("bind", Errno.ENAMETOOLONG, path);
  const address = new Uint8Array(2 + name.length + 1);
  address[0] = AF_UNIX;
  address.set(name, 2);
  return address;
}
