// Transactions of nftables: all requests in one datagram between a beginning and
// an end, and either all of them take effect, at one moment, or none
// (net/netfilter/nfnetlink.c). Owns a socket of its own, for its large buffer.
import { Errno } from "../../linux/errno.ts";
import { withNetns } from "../../linux/netns.ts";
import { AF_NETLINK, SO_RCVBUFFORCE, SOCK_RAW, SOL_SOCKET, Socket } from "../../linux/socket.ts";
import { SysError } from "../../linux/syscall.ts";
import { batchMessage, NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END } from "../../wire/nftables.ts";
import { NFNL_SUBSYS_NFTABLES } from "../../wire/nftables-table.ts";
import {
  beginMessage,
  endMessage,
  NLM_F_ACK,
  NLM_F_REQUEST,
  NLMSG_ERROR,
  nextMessage,
  readAck,
  readHeader,
} from "../../wire/nlmsg.ts";
import { Writer } from "../../wire/writer.ts";
import { NetlinkError } from "../error.ts";
import { NETLINK_NETFILTER, type Request } from "../socket.ts";

const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const SO_SNDBUFFORCE = 32;

const receiveBytes = 65_536;
/** Room for the refusals of a whole transaction: each takes about 1 KB of the kernel's memory. */
const receiveBufferBytes = 1_048_576;
/** The largest transactions, of some 100,000 elements, take a slow kernel seconds. */
const timeLimitSeconds = 60;

export class NftTransactions implements Disposable {
  #sequence = 0;
  #port: number | undefined;
  readonly #received = new Uint8Array(receiveBytes);

  private constructor(private readonly socket: Socket) {}

  /** Opens the socket in the namespace at `netns` (default: this thread's), where it stays. Throws SysError. */
  static open(netns?: string): NftTransactions {
    const open = () => Socket.open(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, "a netlink socket for nftables");
    const socket = netns === undefined ? open() : withNetns(netns, open);
    socket.setTimeLimit(timeLimitSeconds);
    socket.trySetOption(SOL_SOCKET, SO_RCVBUFFORCE, receiveBufferBytes);
    socket.trySetOption(SOL_NETLINK, NETLINK_EXT_ACK, 1);
    socket.trySetOption(SOL_NETLINK, NETLINK_CAP_ACK, 1);
    return new NftTransactions(socket);
  }

  /** The port by which events name this socket; undefined before the first transaction. */
  get port(): number | undefined {
    return this.#port;
  }

  /**
   * Has all the requests done, or none; returns the first refusal. With
   * `generation`, refuses with ERESTART if nftables, in any table, is no
   * longer at that generation. Throws SysError.
   */
  transact(requests: readonly Request[], generation?: number): NetlinkError | undefined {
    const first = this.#sequence + 1;
    const bytes = this.#encode(requests, generation);
    // Netlink takes a datagram whole or not at all.
    this.socket.trySetOption(SOL_SOCKET, SO_SNDBUFFORCE, bytes.length + receiveBytes);
    this.socket.send(bytes);
    return this.#outcome(requests, first);
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
  }

  /** Only the last request asks for an acknowledgement: refusals come in any case, and before it. */
  #encode(requests: readonly Request[], generation: number | undefined): Uint8Array {
    const to = new Writer(65_536);
    const message = (type: number, flags: number, write: Request["write"]) => {
      const start = beginMessage(to, type, NLM_F_REQUEST | flags, ++this.#sequence);
      write(to);
      endMessage(to, start);
    };
    const mark = { res_id: NFNL_SUBSYS_NFTABLES };
    message(NFNL_MSG_BATCH_BEGIN, 0, () => batchMessage.write(to, { ...mark, NFNL_BATCH_GENID: generation }));
    const last = requests.at(-1);
    for (const request of requests)
      message(request.type, request.flags | (request === last ? NLM_F_ACK : 0), request.write);
    message(NFNL_MSG_BATCH_END, 0, () => batchMessage.write(to, mark));
    return to.written;
  }

  #outcome(requests: readonly Request[], first: number): NetlinkError | undefined {
    let refusal: NetlinkError | undefined;
    for (;;) {
      const length = this.socket.receive(this.#received);
      if (length > this.#received.length) throw new SysError("recvfrom", Errno.EMSGSIZE, this.socket.subject);
      for (let at = 0; at < length; ) {
        const header = readHeader(this.#received, at, length);
        at = nextMessage(header);
        this.#port ??= header.port;
        // An answer from an earlier conversation has an earlier number.
        if (header.type !== NLMSG_ERROR || header.sequence < first) continue;
        const { errno, extack } = readAck(this.#received, header);
        const request = requests[header.sequence - first - 1];
        if (request === undefined) return new NetlinkError("begin a change of nftables", errno, extack);
        if (errno !== 0) refusal ??= new NetlinkError(request.describe(), errno, extack);
        if (header.sequence === first + requests.length) return refusal;
      }
    }
  }
}
