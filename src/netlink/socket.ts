// One conversation with the kernel: sequence numbers, acknowledgements with the
// kernel's explanation, complete dumps. Knows messages' frames, not their
// meaning (linux/netlink.h; Documentation/userspace-api/netlink/intro.rst).
import { Errno } from "../linux/errno.ts";
import { withNetns } from "../linux/netns.ts";
import { AF_NETLINK, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET, Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import {
  type Ack,
  beginMessage,
  endMessage,
  type MessageHeader,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  nextMessage,
  readAck,
  readHeader,
} from "../wire/nlmsg.ts";
import { Writer } from "../wire/writer.ts";
import { NetlinkError } from "./error.ts";

export const NETLINK_ROUTE = 0;
export const NETLINK_NETFILTER = 12;
export const NETLINK_GENERIC = 16;

const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

/** The kernel fills at most 32 KB of a dump per message; nothing else is longer. */
const receiveBytes = 65_536;
/** Room for the acknowledgements of a whole flight: each takes about 1 KB of the kernel's memory. */
const kernelBufferBytes = 1_048_576;
const maxFlightRequests = 256;
const maxFlightBytes = 65_536;
/** The kernel answers at once or, while it works, not at all: this bounds a broken one. */
const timeLimitSeconds = 20;
const maxDumpAttempts = 10;

/** One request: its message, and a description for errors. */
export interface Request {
  readonly type: number;
  /** NLM_F_* besides NLM_F_REQUEST. */
  readonly flags: number;
  readonly describe: () => string;
  readonly write: (to: Writer) => void;
}

/** Sees one message of an answer; its payload is bytes[at] to before bytes[end], valid during the call. */
export type Visit = (bytes: Uint8Array, at: number, end: number) => void;

/** Sees the message that answers one of several requests. */
type VisitOne = (index: number, ...entry: Parameters<Visit>) => void;

const found: Ack = { errno: 0 };

/** Owns a netlink socket; not for use by two conversations at once. */
export class NetlinkSocket implements Disposable {
  #sequence = 0;
  #port: number | undefined;
  readonly #received = new Uint8Array(receiveBytes);
  readonly #writer = new Writer(4096);

  private constructor(private readonly socket: Socket) {}

  /** Opens the socket in the namespace at `netns` (default: this thread's), where it stays. Throws SysError. */
  static open(protocol: number, netns?: string): NetlinkSocket {
    const open = () => Socket.open(AF_NETLINK, SOCK_RAW, protocol, "a netlink socket");
    const socket = netns === undefined ? open() : withNetns(netns, open);
    socket.setTimeLimit(timeLimitSeconds);
    // All of these may be missing: the conversation is then slower or less well explained.
    socket.trySetOption(SOL_SOCKET, SO_RCVBUFFORCE, kernelBufferBytes);
    socket.trySetOption(SOL_NETLINK, NETLINK_EXT_ACK, 1);
    socket.trySetOption(SOL_NETLINK, NETLINK_CAP_ACK, 1);
    socket.trySetOption(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    return new NetlinkSocket(socket);
  }

  /** The port by which events name this socket; undefined before the kernel has answered for the first time. */
  get port(): number | undefined {
    return this.#port;
  }

  /**
   * Asks for a list and passes each entry to `visit`. If the kernel's table
   * changed meanwhile, `restart` is called and the list comes again from its
   * beginning. Throws NetlinkError, SysError, DecodeError.
   */
  dump(request: Request, restart: () => void, visit: Visit): void {
    for (let attempt = 0; attempt < maxDumpAttempts; attempt++) {
      restart();
      if (this.#dumpOnce(request, visit)) return;
    }
    const why = `the kernel's table changed during each of ${maxDumpAttempts} attempts to read it`;
    throw new NetlinkError(request.describe(), Errno.EAGAIN, why);
  }

  /** Asks for one entry; false if the kernel says that there is none (ENODEV, ENOENT). Throws NetlinkError, SysError, DecodeError. */
  get(request: Request, visit: Visit): boolean {
    return this.getAll([request], (_, ...entry) => visit(...entry))[0] ?? false;
  }

  /** Does the same for several requests at a time; `visit` sees what came for which one. */
  getAll(requests: readonly Request[], visit: VisitOne): boolean[] {
    return this.#ask(requests, visit).map(({ errno, extack }, i) => {
      if (errno === 0) return true;
      if (errno === Errno.ENODEV || errno === Errno.ENOENT) return false;
      throw new NetlinkError((requests[i] as Request).describe(), errno, extack);
    });
  }

  /**
   * Asks for one entry each, many at a time; `visit` sees what came for which
   * request. One errno a request, 0 if it was answered. Throws SysError, DecodeError.
   */
  query(requests: readonly Request[], visit: VisitOne): number[] {
    return this.#ask(requests, visit).map(({ errno }) => errno);
  }

  /**
   * Sends requests, many at a time; one entry a request: undefined if it was
   * done, else why not. Later ones are tried even so. Throws SysError.
   */
  transact(requests: readonly Request[]): (NetlinkError | undefined)[] {
    const outcomes: (NetlinkError | undefined)[] = [];
    while (outcomes.length < requests.length) {
      const some = requests.slice(outcomes.length, outcomes.length + maxFlightRequests);
      const flight = this.#flight(some, NLM_F_ACK, (index, header) => {
        if (header.type !== NLMSG_ERROR) return undefined;
        const { errno, extack } = readAck(this.#received, header);
        return errno === 0 ? 0 : new NetlinkError((some[index] as Request).describe(), errno, extack);
      });
      for (const outcome of flight) outcomes.push(outcome === 0 ? undefined : outcome);
    }
    return outcomes;
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
  }

  #ask(requests: readonly Request[], visit: VisitOne): Ack[] {
    const answers: Ack[] = [];
    while (answers.length < requests.length) {
      const done = answers.length;
      // Without an acknowledgement each request has one answer: the entry, or the error.
      const flight = this.#flight(requests.slice(done, done + maxFlightRequests), 0, (index, header) => {
        if (header.type === NLMSG_ERROR) return readAck(this.#received, header);
        visit(done + index, this.#received, header.at, header.end);
        return found;
      });
      answers.push(...flight);
    }
    return answers;
  }

  /** True if the list is whole and consistent. */
  #dumpOnce(request: Request, visit: Visit): boolean {
    const sequence = this.#start([request], NLM_F_DUMP);
    let consistent = true;
    this.#receive((header) => {
      if (header.sequence !== sequence) return true;
      if ((header.flags & NLM_F_DUMP_INTR) !== 0) consistent = false;
      if (header.type !== NLMSG_DONE && header.type !== NLMSG_ERROR) {
        // An interrupted dump is received to its end, but no longer read.
        if (consistent) visit(this.#received, header.at, header.end);
        return true;
      }
      const { errno, extack } = readAck(this.#received, header);
      if (errno !== 0) throw new NetlinkError(request.describe(), errno, extack);
      return false;
    });
    return consistent;
  }

  /**
   * Sends as many of the requests as one message to the kernel holds, and
   * collects an outcome of each: `read` makes it, or returns undefined for a
   * message that is not the last about its request.
   */
  #flight<Outcome extends object | number>(
    requests: readonly Request[],
    flags: number,
    read: (index: number, header: MessageHeader) => Outcome | undefined,
  ): Outcome[] {
    const first = this.#start(requests, flags);
    const sent = this.#sequence - first + 1;
    const outcomes = new Array<Outcome>(sent);
    let missing = sent;
    this.#receive((header) => {
      const index = header.sequence - first;
      if (index < 0 || index >= sent) return true;
      const outcome = read(index, header);
      if (outcome === undefined) return true;
      outcomes[index] = outcome;
      return --missing > 0;
    });
    return outcomes;
  }

  /** Sends the requests that fit in one datagram, at least one; returns the sequence number of the first. */
  #start(requests: readonly Request[], flags: number): number {
    const first = this.#sequence + 1;
    this.#writer.clear();
    for (const request of requests) {
      if (this.#writer.length > maxFlightBytes / 2) break;
      const start = beginMessage(
        this.#writer,
        request.type,
        NLM_F_REQUEST | flags | request.flags,
        ++this.#sequence,
      );
      request.write(this.#writer);
      endMessage(this.#writer, start);
    }
    this.socket.send(this.#writer.written);
    return first;
  }

  /** Shows messages to `more` until it returns false. Throws SysError. */
  #receive(more: (header: MessageHeader) => boolean): void {
    for (;;) {
      const length = this.socket.receive(this.#received);
      // Longer than the buffer: the rest is lost, and with it the conversation.
      if (length > this.#received.length) throw new SysError("recvfrom", Errno.EMSGSIZE, this.socket.subject);
      for (let at = 0; at < length; ) {
        const header = readHeader(this.#received, at, length);
        this.#port ??= header.port;
        if (!more(header)) return;
        at = nextMessage(header);
      }
    }
  }
}
