// A long-lived program that a test starts, ends, kills and starts
// again. It runs in a space of the lab and ends with it.

import { childOf } from "./agent.ts";
import { CommandError, type Namespaces, type Running } from "./namespaces.ts";
import { waitUntil } from "./wait.ts";

/** Starting a control plane or a container runtime on a busy machine. */
const startTimeoutMs = 90_000;
/** How much of the log an error shows. */
const shownLines = 15;

export class Service {
  #running: Running | undefined;
  #lines: string[] = [];

  constructor(
    readonly space: Namespaces,
    readonly command: readonly string[],
    /** Returns true if it works; `log` is its output. */
    readonly isReady: (log: readonly string[]) => boolean | Promise<boolean>,
  ) {}

  /** Resolves when it is ready. Throws CommandError if it ends instead. */
  async start(): Promise<void> {
    if (this.#running !== undefined) throw new Error(`${this.#name} runs already`);
    const lines: string[] = [];
    this.#lines = lines;
    const running = this.space.start(this.command, { onStderrLine: (line) => lines.push(line) });
    this.#running = running;
    let ended = false;
    void running.finished.then(() => {
      ended = true;
    });
    const look = async () => {
      if (ended) throw new CommandError(this.space.label, { ...(await running.finished), stderr: this.said });
      return this.isReady(lines);
    };
    const what = () => `${this.#name} being ready, which said:\n${this.said}`;
    await waitUntil(look, { what, timeoutMs: startTimeoutMs, everyMs: 50 });
  }

  /** SIGTERM, and waits for its end: it says farewell to who is connected. */
  stop(): Promise<void> {
    return this.#end("SIGTERM");
  }

  /** SIGKILL, and waits for its end. */
  kill(): Promise<void> {
    return this.#end("SIGKILL");
  }

  async #end(name: "SIGTERM" | "SIGKILL"): Promise<void> {
    await this.#running?.stop(name);
    this.#running = undefined;
  }

  /** As the test process sees it. */
  get pid(): number {
    if (this.#running === undefined) throw new Error(`${this.#name} does not run`);
    return childOf(this.#running.pid);
  }

  get #name(): string {
    return this.command[0]?.split("/").at(-1) ?? "";
  }

  /** The end of its log. */
  get said(): string {
    return this.#lines.slice(-shownLines).join("\n");
  }
}
