// Checks whether the control plane can be reached from this host: it opens TCP connections to its
// addresses in turn, one at a time, with a pause after each round, and only while a question is set.
// It uses system calls, because the runtime's sockets report every failure as "refused", and here
// that difference matters.
import { Errno, errnoCode } from "../linux/errno.ts";
import { SOCK_NONBLOCK, SOCK_STREAM, Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import { familyOf } from "../net/ip.ts";
import { formatIpPort, type IpPort } from "../net/ip-port.ts";
import { AF_INET, AF_INET6 } from "../wire/codec.ts";
import { encodeInetAddress } from "../wire/inet-address.ts";

/** Enough for the first SYN and another one after a second. */
const attemptMs = 2000;
/** No event reports that a connection is established: it is checked after this time, and then after twice as long each time. */
const firstCheckMs = 5;

export class ControlPlane implements Disposable {
  #wanted: Question | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking = false;
  #turn = 0;
  #answeredAtMs: number | undefined;
  readonly #failures = new Map<string, string>();

  /** `onAnswer` is called after an attempt that was answered. */
  constructor(private readonly onAnswer: () => void) {}

  /** When the last attempt that was answered began, by performance.now(). */
  get answeredAtMs(): number | undefined {
    return this.#answeredAtMs;
  }

  /** Why the last attempt for the address failed, while a question is set; undefined if none has ended. */
  failureOf(address: IpPort): string | undefined {
    return this.#failures.get(formatIpPort(address));
  }

  /** Keeps asking until the question changes; undefined stops it. */
  ask(question: Question | undefined): void {
    if (question === undefined) {
      this.#stop();
      return;
    }
    const isNew = this.#wanted?.everyMs !== question.everyMs;
    this.#wanted = question;
    if (!isNew) return;
    this.#failures.clear();
    this.#turn = 0;
    this.#askIn(0);
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #stop(): void {
    this.#wanted = undefined;
    clearTimeout(this.#timer);
  }

  #askIn(delayMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#askNext(), delayMs);
  }

  async #askNext(): Promise<void> {
    const { addresses = [] } = this.#wanted ?? {};
    const turn = this.#turn % addresses.length;
    const address = addresses[turn];
    // An attempt that is under way continues with the next address by itself.
    if (address === undefined || this.#asking) return;
    this.#turn = turn + 1;
    this.#asking = true;
    const beganAtMs = performance.now();
    const failure = await connect(address);
    this.#asking = false;
    if (this.#wanted === undefined) return;
    const isRoundOver = failure === undefined || turn === addresses.length - 1;
    this.#askIn(isRoundOver ? this.#wanted.everyMs : 0);
    if (failure !== undefined) {
      this.#failures.set(formatIpPort(address), failure);
      return;
    }
    this.#answeredAtMs = beganAtMs;
    this.onAnswer();
  }
}

export interface Question {
  readonly addresses: readonly IpPort[];
  /** Pause between two rounds in milliseconds. */
  readonly everyMs: number;
}

/**
 * Returns undefined if the address answers, else the reason. A refusal is an answer too: it came from
 * the address, so packets get there and back; that nothing listens is not the mesh's fault.
 */
async function connect(address: IpPort): Promise<string | undefined> {
  try {
    const domain = familyOf(address.ip) === 4 ? AF_INET : AF_INET6;
    const subject = `a connection to ${formatIpPort(address)}`;
    using socket = Socket.open(domain, SOCK_STREAM | SOCK_NONBLOCK, 0, subject);
    return await waitFor(socket, encodeInetAddress(address));
  } catch (error) {
    if (error instanceof SysError) return error.message;
    throw error;
  }
}

async function waitFor(socket: Socket, address: Uint8Array): Promise<string | undefined> {
  const endMs = performance.now() + attemptMs;
  for (let checkMs = firstCheckMs; ; checkMs *= 2) {
    const errno = socket.tryConnect(address);
    if (errno === 0 || errno === Errno.EISCONN || errno === Errno.ECONNREFUSED) return undefined;
    if (errno !== Errno.EINPROGRESS && errno !== Errno.EALREADY) return errnoCode(errno);
    const leftMs = endMs - performance.now();
    if (leftMs <= 0) return "no answer";
    await Bun.sleep(Math.min(checkMs, leftMs));
  }
}
