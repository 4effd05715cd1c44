// One plugin process that is connected to the server.
import { closeFd } from "../linux/file.ts";
import { pollReadable } from "../linux/poll.ts";
import { SOL_SOCKET, type Socket } from "../linux/socket.ts";
import { peerOf, receiveWithFd } from "../linux/unix-socket.ts";
import { type Call, CallReader, encodeReply, type Reply } from "../wire/plugin-call.ts";

const SO_SNDBUFFORCE = 32;
/** The longest answer fits in, so that a process that does not read it stops no other. */
const sendBufferBytes = 4 * 1024 * 1024;
const receiveBytes = 65_536;
const buffer = new Uint8Array(receiveBytes);

export class Connection implements Disposable {
  readonly #reader: CallReader;
  /** The pod's namespace, once it has come. */
  #netnsFd: number | undefined;

  constructor(
    private readonly socket: Socket,
    maxStdinBytes: number,
    /** The request must be complete by then, on the clock of the server. */
    readonly deadlineMs: number,
  ) {
    this.#reader = new CallReader(maxStdinBytes);
    socket.trySetOption(SOL_SOCKET, SO_SNDBUFFORCE, sendBufferBytes);
  }

  get fd(): number {
    return this.socket.fd;
  }

  get uid(): number {
    return peerOf(this.socket).uid;
  }

  /** True if the caller has closed the connection after its request, or has sent more than one. */
  get isGone(): boolean {
    return pollReadable([this.fd], 0).length > 0;
  }

  /** The path at which this process opens the pod's namespace; one at which nothing is if the caller found none. */
  get netnsPath(): string {
    return `/proc/self/fd/${this.#netnsFd ?? "none"}`;
  }

  /** Returns the request once it is complete, "more" before, and "end" if it will not come. Throws DecodeError, SysError. */
  read(): Call | "more" | "end" {
    const received = receiveWithFd(this.socket, buffer);
    if (received === undefined) return "more";
    if (received.fd !== undefined) {
      if (this.#netnsFd !== undefined) closeFd(this.#netnsFd);
      this.#netnsFd = received.fd;
    }
    if (received.length === 0) return "end";
    return this.#reader.push(buffer.subarray(0, received.length)) ?? "more";
  }

  /** Sends all in one piece, so that the caller wakes up once. Throws SysError if it is gone. */
  reply(replies: readonly Reply[]): void {
    this.socket.send(Buffer.concat(replies.map(encodeReply)));
  }

  [Symbol.dispose](): void {
    if (this.#netnsFd !== undefined) closeFd(this.#netnsFd);
    this.#netnsFd = undefined;
    this.socket[Symbol.dispose]();
  }
}
