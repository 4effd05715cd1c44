// The plugin server: a process of the agent's that does the calls of plugin processes, so that a call
// costs neither the start of the code nor that of the store. It is a process of its own because it
// enters pods' network namespaces, waits for the kernel, and must go on while the agent programs
// thousands of peers. It sleeps in poll(2) while there are no calls.
//
//   agent ── stdin, open as long as it lives ──► server ◄── plugin.sock ── plugin processes
import { logCall, settle } from "../cni/main.ts";
import { maxStdinBytes } from "../cni/stdin.ts";
import { findStatus, unlink } from "../linux/file.ts";
import { pollReadable } from "../linux/poll.ts";
import { tryPreferProcess } from "../linux/priority.ts";
import type { Socket } from "../linux/socket.ts";
import { SysError } from "../linux/syscall.ts";
import { listenUnix } from "../linux/unix-socket.ts";
import { messageOf } from "../net/error.ts";
import { pluginSocket } from "../net/state-dir.ts";
import { DecodeError } from "../wire/error.ts";
import type { Call, Reply } from "../wire/plugin-call.ts";
import { Calls, type Served } from "./calls.ts";
import { Connection } from "./connection.ts";
import { rehearse } from "./rehearsal.ts";

const backlog = 1024;
/** More wait in the kernel. Each needs two descriptors, and a process may have 1024 of them. */
const maxConnections = 256;
/** A process sends its request in one piece, as soon as it is greeted. */
const requestMs = 5000;
/** The time between two looks at calls that wait for something else than the server. */
const pauseMs = 5;

export interface ServerOptions {
  readonly stateDir: string;
  readonly build: string;
  /** A descriptor that ends with the agent. */
  readonly parent: number;
  readonly warn: (message: string) => void;
  /** Milliseconds on the host's clock that only goes forward. */
  readonly now: () => number;
}

interface Arrived {
  readonly connection: Connection;
  readonly call: Call;
}

export class PluginServer implements Disposable {
  readonly #listener: Socket;
  /** The identity of the socket's file. */
  readonly #identity: string | undefined;
  readonly #calls: Calls;
  /** Those whose request is not complete, by descriptor. */
  readonly #waiting = new Map<number, Connection>();
  /** Those that came after the batch was begun. */
  readonly #arrived: Arrived[] = [];
  /** Those that are served now, one after the other. */
  readonly #batch: Arrived[] = [];
  /** The number of calls that wait for something else than the server. */
  #unfinished = 0;
  /** Calls whose caller was gone before the answer. */
  readonly #unheard: { readonly connection: Connection; readonly served: Served }[] = [];

  private constructor(
    private readonly options: ServerOptions,
    path: string,
  ) {
    this.#calls = new Calls(options.stateDir, options.now);
    this.#listener = listenUnix(path, backlog);
    this.#identity = findStatus(path)?.identity;
  }

  /** Throws SysError. */
  static async open(options: ServerOptions): Promise<PluginServer> {
    const { stateDir } = options;
    // A call is short, and a pod waits for it. The agent and a userspace WireGuard may keep all processors for seconds.
    tryPreferProcess();
    // The executable starts with a compiler that hardly ever compiles (scripts/build.ts), which is right for a process
    // that lives for milliseconds. Here it would make calls take half as long again.
    Bun.unsafe.setJITPolicy(1);
    try {
      await rehearse(`${stateDir}/plugin.rehearsal`, options.now);
    } catch (error) {
      options.warn(`the first calls take longer, because no rehearsal was possible: ${messageOf(error)}`);
    }
    return new PluginServer(options, pluginSocket(stateDir));
  }

  /** Serves until the agent ends. */
  async run(): Promise<void> {
    while (await this.#serveOnce());
  }

  [Symbol.dispose](): void {
    // The next agent's server may have its socket at the path already.
    const path = pluginSocket(this.options.stateDir);
    if (findStatus(path)?.identity === this.#identity) unlink(path);
    this.#listener[Symbol.dispose]();
    const begun = [...this.#arrived, ...this.#batch].map(({ connection }) => connection);
    for (const connection of [...this.#waiting.values(), ...begun]) connection[Symbol.dispose]();
    this.#calls[Symbol.dispose]();
  }

  /** Serves one call, and waits for it before; false once the agent has ended. New callers are greeted between two calls. */
  async #serveOnce(): Promise<boolean> {
    const { parent } = this.options;
    const accepting = this.#isFull ? [] : [this.#listener.fd];
    const ready = new Set(pollReadable([parent, ...accepting, ...this.#waiting.keys()], this.#waitMs()));
    if (ready.has(parent)) return false;
    if (ready.has(this.#listener.fd)) this.#accept();
    this.#arrived.push(...this.#collect(ready));
    await this.#serveNext();
    await this.#takeBack();
    // Poll stops timers: what unfinished calls wait for goes on here.
    if (this.#unfinished > 0) await Bun.sleep(0);
    return true;
  }

  #waitMs(): number | undefined {
    if (this.#batch.length + this.#arrived.length + this.#unheard.length > 0) return 0;
    if (this.#unfinished > 0) return pauseMs;
    const deadlines = [...this.#waiting.values()].map(({ deadlineMs }) => deadlineMs);
    return deadlines.length === 0 ? undefined : Math.max(0, Math.min(...deadlines) - this.options.now());
  }

  async #serveNext(): Promise<void> {
    if (this.#batch.length === 0) this.#beginBatch();
    const next = this.#batch.shift();
    if (next === undefined) return;
    const { connection, call } = next;
    // A runtime that ended its call may have begun another one for the pod.
    if (connection.isGone) connection[Symbol.dispose]();
    else await this.#serve(connection, call);
  }

  /** Takes what has arrived until now, so that the links of pods that end at the same time are removed at once. */
  #beginBatch(): void {
    this.#batch.push(...this.#arrived.splice(0));
    if (this.#batch.length < 2) return;
    const wanted = this.#batch.filter(({ connection }) => !connection.isGone);
    this.#calls.removeLinks(wanted.map(({ call }) => call));
  }

  get #isFull(): boolean {
    return this.#waiting.size + this.#arrived.length + this.#batch.length >= maxConnections;
  }

  #accept(): void {
    while (!this.#isFull) {
      const socket = this.#listener.accept();
      if (socket === undefined) return;
      const connection = new Connection(socket, maxStdinBytes, this.options.now() + requestMs);
      this.#waiting.set(connection.fd, connection);
      this.#greet(connection);
    }
  }

  /** The file's mode lets in root alone; another user can have got the open socket from someone. */
  #greet(connection: Connection): void {
    try {
      if (connection.uid === 0) connection.reply([{ kind: "hello", text: this.options.build }]);
      else this.#drop(connection);
    } catch {
      this.#drop(connection);
    }
  }

  #drop(connection: Connection): void {
    this.#waiting.delete(connection.fd);
    connection[Symbol.dispose]();
  }

  /** Returns the requests that are complete. */
  #collect(ready: ReadonlySet<number>): Arrived[] {
    const arrived: Arrived[] = [];
    for (const [fd, connection] of this.#waiting) {
      const call = ready.has(fd) ? readCall(connection) : "more";
      const isLate = call === "more" && this.options.now() > connection.deadlineMs;
      if (call === "end" || isLate) this.#drop(connection);
      else if (call !== "more") {
        this.#waiting.delete(fd);
        arrived.push({ connection, call });
      }
    }
    return arrived;
  }

  async #serve(connection: Connection, call: Call): Promise<void> {
    const served = await this.#calls.serve(call, connection.netnsPath);
    if (served === undefined) {
      using _ended = connection;
      tryReply(connection, [{ kind: "declined", text: "" }]);
    } else if (served.done?.isWaiting) void this.#finish(connection, served);
    else await this.#finish(connection, served);
  }

  async #finish(connection: Connection, served: Served): Promise<void> {
    const { printed, done, exitCode } = served;
    this.#unfinished++;
    if (done !== undefined) await settle(done);
    this.#unfinished--;
    // Before the answer: a scrape that follows the runtime's return must find the call.
    if (done !== undefined) logCall(done);
    const { stderr, stdout } = printed;
    const texts: Reply[] = [
      { kind: "stderr", text: stderr },
      { kind: "stdout", text: stdout },
    ];
    const replies = texts.filter(({ text }) => text !== "");
    if (tryReply(connection, [...replies, { kind: "exit", text: `${exitCode}` }]))
      connection[Symbol.dispose]();
    else this.#unheard.push({ connection, served });
  }

  /** A process that was ended while it waited has told the runtime nothing, so no container will use the pod. */
  async #takeBack(): Promise<void> {
    for (const { connection, served } of this.#unheard.splice(0)) {
      await this.#calls.takeBack(served);
      connection[Symbol.dispose]();
    }
  }
}

/** False if the caller is gone. */
function tryReply(connection: Connection, replies: readonly Reply[]): boolean {
  try {
    connection.reply(replies);
    return true;
  } catch (error) {
    if (error instanceof SysError) return false;
    throw error;
  }
}

/** A process that sends what is no request, or is gone, has none. */
function readCall(connection: Connection): Call | "more" | "end" {
  try {
    return connection.read();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof SysError) return "end";
    throw error;
  }
}
