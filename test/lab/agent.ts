// An agent of the product in a lab node, and what it logs. Ends with the lab at
// the latest.

import { readFileSync } from "node:fs";
import { AF_UNIX, SOCK_DGRAM, Socket } from "../../src/linux/socket.ts";
import { rawSyscall } from "../../src/linux/syscall.ts";
import { CommandError, type Completed, type Running } from "./namespaces.ts";
import type { Node } from "./node.ts";
import { atPace } from "./pace.ts";
import { waitUntil } from "./wait.ts";

export interface AgentOptions {
  /** The executable, in the node; the node's own one unless told. */
  readonly program?: string;
  /** Further arguments: ["--log-level", "debug"]. */
  readonly args?: readonly string[];
  /** "json" unless told; only then there are lines(). */
  readonly format?: "json" | "text";
  readonly env?: Readonly<Record<string, string>>;
}

/** One line of the log; the fields beside these depend on the message. */
export interface LogLine {
  readonly time: string;
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly [field: string]: unknown;
}

const MSG_DONTWAIT = 0x40;
const defaultTimeoutMs = atPace(20_000);
/** How much of the log an error shows. */
const shownLines = 15;
let agents = 0;

export class Agent {
  readonly #running: Running;
  readonly #said: string[] = [];
  readonly #lines: LogLine[] = [];
  #ended = false;
  #pid = 0;

  private constructor(
    readonly node: Node,
    { program = node.executable, args = [], format = "json", env = {} }: AgentOptions,
    notifySocket: string,
  ) {
    this.#running = node.start([program, "agent", "--log-format", format, ...args], {
      env: { ...env, NOTIFY_SOCKET: notifySocket },
      onStderrLine: (line) => this.#note(line),
    });
    void this.#running.finished.then(() => {
      this.#ended = true;
    });
  }

  /** Called by Node.agent(). Resolves when it has looked at everything once, as it tells a service manager. */
  static async start(node: Node, options: AgentOptions = {}): Promise<Agent> {
    const path = `/run/notify-${++agents}.socket`;
    // Closed when it is ready: nobody would read what comes then.
    using manager = Socket.open(AF_UNIX, SOCK_DGRAM, 0, `the lab's service manager at ${path}`);
    manager.bind(unixAddress(node.outsidePath(path)));
    const agent = new Agent(node, options, path);
    await agent.#wait(() => heard(manager, "READY=1"), "being ready", defaultTimeoutMs);
    agent.#pid = childOf(agent.#running.pid);
    return agent;
  }

  /** True once its process has ended. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  /** As the test process sees it. */
  get pid(): number {
    return this.#pid;
  }

  /** The processes that it has started and that run. */
  children(): number[] {
    const text = readFileSync(`/proc/${this.#pid}/task/${this.#pid}/children`, "utf8").trim();
    return text === "" ? [] : text.split(" ").map(Number);
  }

  /** Returns the lines that it has logged so far. */
  lines(): readonly LogLine[] {
    return this.#lines;
  }

  /**
   * The first line, from the one with index `from` on, whose message contains a
   * text or that a predicate takes. For what comes after a deed, `from` is
   * `agent.lines().length` before it. Throws when it is late or the agent ends.
   */
  waitFor(
    match: string | ((line: LogLine) => boolean),
    timeoutMs = defaultTimeoutMs,
    from = 0,
  ): Promise<LogLine> {
    const matches = typeof match === "string" ? ({ message }: LogLine) => message.includes(match) : match;
    const what = typeof match === "string" ? `the line "${match}"` : `a line that ${match}`;
    return this.#wait(() => this.#lines.slice(from).find(matches), what, timeoutMs);
  }

  /** It does nothing until `thaw`, and notices nothing of it. */
  freeze(): void {
    process.kill(this.#pid, "SIGSTOP");
  }

  /** nsenter stops with its child, and stays behind for good where only the child goes on. */
  thaw(): void {
    for (const pid of [this.#pid, this.#running.pid]) process.kill(pid, "SIGCONT");
  }

  /** SIGTERM; resolves with the agent's own exit code. */
  stop(): Promise<Completed> {
    return this.#end("SIGTERM");
  }

  /** SIGKILL: it has no say in it. */
  kill(): Promise<Completed> {
    return this.#end("SIGKILL");
  }

  async #end(name: "SIGTERM" | "SIGKILL"): Promise<Completed> {
    if (!this.#ended) {
      // nsenter stops itself with its child, and is not continued with it: a test may have done both to the agent.
      process.kill(this.#running.pid, "SIGCONT");
      // It passes on how the agent ended only if the agent alone is told to.
      process.kill(this.#pid, name);
    }
    await waitUntil(() => this.#ended, { what: () => `the end of ${this.#describe()} after ${name}` });
    return this.#running.finished;
  }

  async #wait<T>(look: () => T | undefined, what: string, timeoutMs: number): Promise<NonNullable<T>> {
    const lookUnlessEnded = async () => {
      // In this order: what it said last counts.
      const ended = this.#ended;
      const seen = look();
      if (!seen && ended) throw new CommandError(this.node.label, await this.#running.finished);
      return seen;
    };
    const options = { what: () => `${what} of ${this.#describe()}`, timeoutMs };
    return (await waitUntil(lookUnlessEnded, options)) as NonNullable<T>;
  }

  #note(line: string): void {
    this.#said.push(line);
    const parsed = parseLine(line);
    if (parsed) this.#lines.push(parsed);
  }

  #describe(): string {
    const last = this.#said.slice(-shownLines).map((line) => `\n  ${line}`);
    return `${this.node.name}'s agent, which said${last.length === 0 ? " nothing" : `:${last.join("")}`}`;
  }
}

/** Text that is no line of the log came from the runtime or from before the log began. */
function parseLine(line: string): LogLine | undefined {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}

/** Reads all that has come; whether one of it says so. */
function heard(socket: Socket, text: string): boolean {
  const buffer = new Uint8Array(4096);
  for (;;) {
    const length = rawSyscall("recvfrom", socket.fd, buffer, buffer.length, MSG_DONTWAIT);
    if (length < 0) return false;
    if (new TextDecoder().decode(buffer.subarray(0, length)).includes(text)) return true;
  }
}

/** struct sockaddr_un. */
function unixAddress(path: string): Uint8Array {
  return new Uint8Array([AF_UNIX, 0, ...new TextEncoder().encode(`${path}\0`)]);
}

/** The process that nsenter has started, and no other one. */
export function childOf(pid: number): number {
  const child = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  if (!/^\d+$/.test(child)) throw new Error(`nsenter ${pid} has not one child but: "${child}"`);
  return Number(child);
}
